"""Data on its way to the parser: in slices, and only so many frames a second."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from appliance.websocket.intake import BURST, BYTES_A_FRAME, FRAMES_A_SECOND, SLICE, Intake


class Transport:
    """Knows whether it reads."""

    reading = True

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True


class IntakeTests(SynchronousTestCase):
    """A parser for which every byte is a frame; `hold_at` has it hold the intake at that byte."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = Transport()
        self.pieces: list[bytes] = []
        self.hold_at: bytes | None = None
        self.frames = True
        self.intake = Intake(self.clock, self.parse)
        self.intake.transport = self.transport

    def parse(self, data: bytes) -> None:
        self.pieces.append(data)
        if self.frames:
            for _ in data:
                self.intake.frame()
        if self.hold_at is not None and self.hold_at in data:
            self.hold_at = None
            self.intake.hold()

    @property
    def parsed(self) -> bytes:
        return b"".join(self.pieces)

    def test_little_goes_straight_through(self) -> None:
        self.intake.receive(b"one")
        self.intake.receive(b"two")
        self.assertEqual(self.pieces, [b"one", b"two"])
        self.assertTrue(self.transport.reading)

    def test_much_goes_through_in_slices(self) -> None:
        self.frames = False
        data = bytes(range(256)) * 40
        self.intake.receive(data)
        self.assertEqual(self.parsed, data)
        self.assertEqual(max(map(len, self.pieces)), SLICE)

    def test_what_is_held_waits(self) -> None:
        self.frames = False
        self.hold_at = b"h"
        self.intake.receive(b"hold")
        self.assertFalse(self.transport.reading)
        self.assertTrue(self.intake.is_paused)
        self.intake.receive(b"later")
        self.assertEqual(self.parsed, b"hold")
        self.intake.release()
        self.assertEqual(self.parsed, b"holdlater")
        self.assertTrue(self.transport.reading)

    def test_what_is_held_in_the_middle_of_much_waits_behind_that_slice(self) -> None:
        self.frames = False
        self.hold_at = b"h"
        self.intake.receive(b"a" * SLICE + b"h" + b"b" * 2 * SLICE)
        self.assertEqual(len(self.parsed), 2 * SLICE)
        self.intake.release()
        self.assertEqual(len(self.parsed), 3 * SLICE + 1)

    def test_a_flood_is_paced(self) -> None:
        self.intake.receive(b"x" * 10 * BURST)
        first = len(self.parsed)
        self.assertLess(first, BURST + SLICE)
        self.assertFalse(self.transport.reading)
        for _ in range(100):
            self.clock.advance(0.1)
        self.assertEqual(len(self.parsed), 10 * BURST)
        self.assertTrue(self.transport.reading)

    def test_a_flood_gets_what_the_rate_allows(self) -> None:
        for _ in range(200):
            self.clock.advance(0.1)
            if self.transport.reading:
                self.intake.receive(b"x" * 500)
        self.assertLess(len(self.parsed), 20 * FRAMES_A_SECOND + BURST + SLICE)
        self.assertGreater(len(self.parsed), 19 * FRAMES_A_SECOND)

    def test_a_quiet_time_allows_a_burst_and_no_more(self) -> None:
        self.clock.advance(1000)
        self.intake.receive(b"x" * 3 * BURST)
        self.assertLess(len(self.parsed), BURST + SLICE + 1)

    def test_a_flood_of_bytes_is_paced_too(self) -> None:
        self.frames = False
        for _ in range(1000):
            if self.transport.reading:
                self.intake.receive(b"x" * (1 << 16))
        first = len(self.parsed)
        self.assertLessEqual(first, BURST * BYTES_A_FRAME + SLICE)
        self.assertGreater(first, BURST * BYTES_A_FRAME - (1 << 17))
        for _ in range(20):
            self.clock.advance(0.1)
            while self.transport.reading:
                self.intake.receive(b"x" * (1 << 16))
        self.assertLess(len(self.parsed) - first, 2.2 * FRAMES_A_SECOND * BYTES_A_FRAME)

    def test_after_the_end_nothing_is_left(self) -> None:
        self.intake.receive(b"x" * 10 * BURST)
        before = len(self.parsed)
        self.intake.stop()
        self.intake.receive(b"more")
        self.intake.release()
        self.clock.advance(100)
        self.assertEqual(len(self.parsed), before)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_release_while_the_parser_is_at_work(self) -> None:
        self.frames = False

        def parse(data: bytes) -> None:
            self.pieces.append(data)
            self.intake.hold()
            self.intake.release()

        self.intake = Intake(self.clock, parse)
        self.intake.transport = self.transport
        self.intake.receive(b"x" * 5 * SLICE)
        self.assertEqual(len(self.parsed), 5 * SLICE)


@given(st.lists(st.binary(max_size=5000), max_size=20), st.integers(1, 50))
def test_what_is_received_is_fed_whole_and_in_order(pieces: list[bytes], hold_every: int) -> None:
    clock, fed, count = Clock(), [], 0

    def feed(data: bytes) -> None:
        nonlocal count
        fed.append(data)
        count += 1
        if count % hold_every == 0:
            intake.hold()

    intake = Intake(clock, feed)
    intake.transport = Transport()
    for piece in pieces:
        intake.receive(piece)
        intake.release()
    for _ in range(200):
        intake.release()
        clock.advance(1)
    assert b"".join(fed) == b"".join(pieces)
    assert max(map(len, fed), default=0) <= SLICE
