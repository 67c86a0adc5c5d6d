import os
import signal
import subprocess
import sys
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import TestCase

from appliance.process import watch
from appliance.process.watch import ProcessMark, process_ended, send_signal
from tests.support.processes import wait_for

reactor: Any = global_reactor


def mark_of(pid: int) -> ProcessMark:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return ProcessMark(pid, int(file.read().rpartition(b")")[2].split()[19]))


class WatchTests(TestCase):
    def setUp(self) -> None:
        self.process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, start_new_session=True)
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        assert self.process.stdin is not None
        self.addCleanup(self.process.stdin.close)
        self.mark = mark_of(self.process.pid)
        self.stranger = ProcessMark(self.process.pid, self.mark.start_time - 1)

    def without_pidfd(self) -> None:
        def missing(pid: int) -> int:
            raise OSError(38, "Function not implemented")

        self.patch(os, "pidfd_open", missing)
        self.patch(watch, "POLL", 0.02)

    async def test_the_end(self) -> None:
        ended = process_ended(reactor, self.mark)
        self.assertFalse(ended.called)
        self.process.kill()
        await ended
        self.assertFalse(self.mark.alive())  # although nobody has reaped it

    async def test_the_end_without_pidfd(self) -> None:
        self.without_pidfd()
        ended = process_ended(reactor, self.mark)
        self.assertFalse(ended.called)
        self.process.kill()
        await ended

    async def test_ended_before(self) -> None:
        self.process.kill()
        self.process.wait()
        await process_ended(reactor, self.mark)

    async def test_another_process_of_the_same_number(self) -> None:
        await process_ended(reactor, self.stranger)

    async def test_cancel_leaves_nothing_in_the_reactor(self) -> None:
        before = len(reactor.getReaders())
        descriptors = len(os.listdir("/proc/self/fd"))
        ended = process_ended(reactor, self.mark)
        ended.cancel()
        await self.assertFailure(ended, CancelledError)
        self.assertEqual((len(reactor.getReaders()), len(os.listdir("/proc/self/fd"))), (before, descriptors))

    async def test_cancel_without_pidfd(self) -> None:
        self.without_pidfd()
        ended = process_ended(reactor, self.mark)
        ended.cancel()
        await self.assertFailure(ended, CancelledError)

    def test_signal(self) -> None:
        self.assertTrue(send_signal(self.mark, signal.SIGTERM))
        self.assertEqual(self.process.wait(), -signal.SIGTERM)

    def test_signal_without_pidfd(self) -> None:
        self.without_pidfd()
        self.assertTrue(send_signal(self.mark, signal.SIGTERM))
        self.assertEqual(self.process.wait(), -signal.SIGTERM)

    def test_signal_to_a_group(self) -> None:
        self.assertTrue(send_signal(self.mark, signal.SIGTERM, group=True))
        self.assertEqual(self.process.wait(), -signal.SIGTERM)

    def test_no_signal_reaches_a_stranger(self) -> None:
        for group in (False, True):
            self.assertFalse(send_signal(self.stranger, signal.SIGKILL, group=group))
        self.without_pidfd()
        self.assertFalse(send_signal(self.stranger, signal.SIGKILL))
        self.assertIsNone(self.process.poll())

    def test_signal_to_one_that_is_gone(self) -> None:
        self.process.kill()
        self.process.wait()
        for group in (False, True):
            self.assertFalse(send_signal(self.mark, signal.SIGTERM, group=group))


class MarkTests(TestCase):
    def test_a_name_with_brackets_and_spaces(self) -> None:
        script = "import ctypes; ctypes.CDLL(None).prctl(15, b') Z 1 2 (x', 0, 0, 0); print(flush=True); input()"
        with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            self.assertTrue(mark_of(process.pid).alive())
            process.kill()
            wait_for(lambda: not mark_of(process.pid).alive(), "the end")
