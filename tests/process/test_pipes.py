import errno
import os
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from appliance.process import pipes
from appliance.process.drains import Drains
from appliance.process.pipes import Ends, Feed, Intake, pipe_from_child, pipe_to_child
from tests.support.processes import eventually

reactor: Any = global_reactor


class PipesTestCase(TestCase):
    def setUp(self) -> None:
        self.received = bytearray()
        self.ended: Deferred[None] = Deferred()

    def intake(self) -> tuple[Intake, int]:
        """A reader, and the descriptor to write to."""
        ends = pipe_from_child()
        reader = Intake(reactor, ends.ours, self.received.extend, lambda: self.ended.callback(None))
        self.addCleanup(reader.close)
        return reader, ends.theirs

    def free(self, descriptor: int) -> bool:
        """Whether nothing is open under this number."""
        try:
            os.fstat(descriptor)
        except OSError as error:
            return error.errno == errno.EBADF
        return False


class EndsTests(PipesTestCase):
    def test_their_numbers_and_kinds(self) -> None:
        for ends, writable in ((pipe_to_child(), 0), (pipe_from_child(), 1)):
            for descriptor in (ends.ours, ends.theirs):
                self.addCleanup(os.close, descriptor)
                self.assertGreaterEqual(descriptor, 8)
                self.assertFalse(os.get_inheritable(descriptor))
                self.assertTrue(os.get_blocking(descriptor))
            os.write((ends.ours, ends.theirs)[writable], b"x")
            self.assertEqual(os.read((ends.theirs, ends.ours)[writable], 9), b"x")

    def test_low_numbers_are_lifted(self) -> None:
        # As where the server was started with its standard descriptors closed.
        low = [os.dup(0) for _ in range(4)]
        for each in low:
            os.close(each)
        self.patch(pipes, "_LOWEST", max(low) + 100)
        ends = pipe_to_child()
        self.assertGreaterEqual(min(ends.ours, ends.theirs), max(low) + 100)
        self.assertTrue(all(map(self.free, low)))
        os.close(ends.ours)
        os.close(ends.theirs)

    def test_no_more_descriptors(self) -> None:
        self.patch(pipes, "_LOWEST", 1 << 30)  # fcntl(2) refuses that
        before = os.listdir("/proc/self/fd")
        self.assertRaises(OSError, pipe_to_child)
        self.assertEqual(os.listdir("/proc/self/fd"), before)


class IntakeTests(PipesTestCase):
    async def test_pieces_until_the_end(self) -> None:
        reader, theirs = self.intake()
        os.write(theirs, b"one ")
        await eventually(lambda: self.received == b"one ", "the first piece")
        os.write(theirs, b"two")
        os.close(theirs)
        await self.ended
        self.assertEqual(self.received, b"one two")
        self.assertTrue(reader.closed)
        self.assertEqual(reader.release(), -1)

    async def test_the_end_without_a_word(self) -> None:
        _, theirs = self.intake()
        await deferLater(reactor, 0)
        os.close(theirs)
        await self.ended
        self.assertEqual(self.received, b"")

    def test_the_rest_is_what_lies_there_now(self) -> None:
        reader, theirs = self.intake()
        self.addCleanup(os.close, theirs)
        reader.read_rest()
        self.assertEqual(self.received, b"")
        os.write(theirs, b"x" * 65536)  # as much as a pipe holds
        reader.read_rest()
        self.assertEqual(len(self.received), 65536)
        self.assertFalse(reader.closed)

    def test_the_rest_and_the_end(self) -> None:
        reader, theirs = self.intake()
        os.write(theirs, b"x")
        os.close(theirs)
        reader.read_rest()
        reader.read_rest()
        self.assertEqual(self.received, b"x")

    async def test_closing_in_the_middle_of_what_it_says(self) -> None:
        ends = pipe_from_child()
        self.addCleanup(os.close, ends.theirs)

        def receive(data: bytes) -> None:
            self.received.extend(data)
            reader.close()

        reader = Intake(reactor, ends.ours, receive)
        os.write(ends.theirs, b"x")
        await eventually(lambda: reader.closed, "the closing")
        self.assertEqual(self.received, b"x")
        self.assertTrue(self.free(ends.ours))
        self.assertRaises(BrokenPipeError, os.write, ends.theirs, b"y")

    async def test_released_it_is_left_alone(self) -> None:
        reader, theirs = self.intake()
        descriptor = reader.release()
        os.write(theirs, b"x")
        await deferLater(reactor, 0.02)
        self.assertEqual(self.received, b"")
        self.assertEqual(os.read(descriptor, 9), b"x")
        os.close(descriptor)
        os.close(theirs)


class FeedTests(PipesTestCase):
    async def test_more_than_a_pipe_holds(self) -> None:
        data = os.urandom(1 << 20)
        ends = pipe_to_child()
        feed = Feed(reactor, ends.ours, data)
        self.assertGreaterEqual(feed.fileno(), 0)
        Intake(reactor, ends.theirs, self.received.extend, lambda: self.ended.callback(None))
        await self.ended
        self.assertEqual(self.received, data)
        self.assertEqual(feed.fileno(), -1)

    def test_little_is_written_and_closed_at_once(self) -> None:
        for data in (b"", b"x"):
            ends = pipe_to_child()
            self.assertEqual(Feed(reactor, ends.ours, data).fileno(), -1)
            self.assertEqual(os.read(ends.theirs, 9), data)
            self.assertEqual(os.read(ends.theirs, 9), b"")
            os.close(ends.theirs)

    async def test_a_reader_that_goes_away(self) -> None:
        for wait in (False, True):
            ends = pipe_to_child()
            if not wait:
                os.close(ends.theirs)
            feed = Feed(reactor, ends.ours, b"x" * 200_000)
            if wait:
                await deferLater(reactor, 0)
                os.close(ends.theirs)
            while feed.fileno() != -1:
                await deferLater(reactor, 0)
            self.assertTrue(self.free(ends.ours))

    def test_closing(self) -> None:
        ends = pipe_to_child()
        feed = Feed(reactor, ends.ours, b"x" * 200_000)
        feed.close()
        feed.close()
        self.assertEqual(len(os.read(ends.theirs, 1 << 20)), 65536)
        self.assertEqual(os.read(ends.theirs, 9), b"")
        os.close(ends.theirs)


class DrainTests(PipesTestCase):
    def ends(self) -> Ends:
        ends = pipe_from_child()
        os.set_blocking(ends.ours, False)
        os.set_blocking(ends.theirs, False)
        return ends

    async def test_writers_are_not_held_up(self) -> None:
        drains, ends = Drains(reactor), self.ends()
        drains.adopt(ends.ours)
        written = 0
        while written < 300_000:
            try:
                written += os.write(ends.theirs, b"x" * 65536)
            except BlockingIOError:
                await deferLater(reactor, 0.01)
        os.close(ends.theirs)
        await eventually(lambda: not len(drains), "the end of the pipe")
        self.assertTrue(self.free(ends.ours))

    async def test_writing_without_end_costs_little(self) -> None:
        drains, ends = Drains(reactor), self.ends()
        drains.adopt(ends.ours)
        written, until = 0, reactor.seconds() + 0.3
        while reactor.seconds() < until:
            try:
                written += os.write(ends.theirs, b"x" * 65536)
            except BlockingIOError:
                await deferLater(reactor, 0)
        self.assertLess(written, 20 * 65536)
        drains.close()
        self.assertRaises(BrokenPipeError, os.write, ends.theirs, b"x")
        os.close(ends.theirs)

    def test_the_oldest_gives_way(self) -> None:
        drains = Drains(reactor, limit=2)
        ends = [self.ends() for _ in range(3)]
        for each in ends:
            drains.adopt(each.ours)
        self.assertEqual([self.free(each.ours) for each in ends], [True, False, False])
        drains.close()
        self.assertEqual(len(drains), 0)
        for each in ends:
            os.close(each.theirs)
