"""What a peer has sent and the parser has not had yet: let through in small slices, and only so much of it a second.

Without it one read of 64 KiB may hold ten thousand empty frames, each of which costs as much as a small message; and
bytes cost their share as well, for they are unmasked and checked for UTF-8.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime

SLICE = 2048
FRAMES_A_SECOND = 1000
BURST = 1000
"""Frames that may come at once after a quiet second; from then on `FRAMES_A_SECOND`."""
BYTES_A_FRAME = 16_384
"""As many bytes count as another frame: 16 MB a second at the most."""


class Intake:
    """Stands between a transport and the parser, and has the transport read no more while the parser may not go on.

    `feed` is given the data; whoever it belongs to calls `frame` for each frame it finds.
    """

    def __init__(self, clock: IReactorTime, feed: Callable[[bytes], None]) -> None:
        self.transport: Any = None
        self._clock = clock
        self._feed = feed
        self._unread = bytearray()
        self._held = False
        self._feeding = False
        self._frames = float(BURST)
        self._refilled = clock.seconds()
        self._timer: IDelayedCall | None = None
        self._paused = False
        self._stopped = False

    @property
    def is_paused(self) -> bool:
        """Whether what the peer sends is left unread for now."""
        return self._paused

    def receive(self, data: bytes) -> None:
        """Take what the transport has read."""
        if self._stopped:
            return
        if not self._unread and len(data) <= SLICE and self._is_free and not self._feeding:
            self._feeding = True
            try:
                self._feed_counted(data)
            finally:
                self._feeding = False
            self._settle()
        else:
            self._unread += data
            self._pump()

    def frame(self) -> None:
        """Count a frame."""
        self._frames -= 1

    def hold(self) -> None:
        """Let nothing through until `release`."""
        self._held = True

    def release(self) -> None:
        """End `hold`."""
        self._held = False
        self._pump()

    def stop(self) -> None:
        """The connection is gone."""
        self._unread.clear()
        self._stopped = True
        self._feed = _drop
        self.transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _is_free(self) -> bool:
        return not self._held and not self._stopped and self._timer is None

    def _pump(self) -> None:
        if self._feeding:
            return
        self._feeding = True
        try:
            while self._unread and self._is_free:
                data = bytes(self._unread[:SLICE])
                del self._unread[:SLICE]
                self._feed_counted(data)
                self._pace()
        finally:
            self._feeding = False
        self._settle()

    def _feed_counted(self, data: bytes) -> None:
        self._frames -= len(data) / BYTES_A_FRAME
        self._feed(data)

    def _settle(self) -> None:
        """Bring the transport to read, or not, as things are now."""
        if self.transport is None:
            return
        self._pace()
        if not self._is_free:
            self._paused = True
            self.transport.pauseProducing()
        elif self._paused:
            self._paused = False
            self.transport.resumeProducing()

    def _pace(self) -> None:
        if self._frames >= 0 or self._timer is not None or self.transport is None:
            return
        now = self._clock.seconds()
        self._frames = min(BURST, self._frames + max(0.0, now - self._refilled) * FRAMES_A_SECOND)
        self._refilled = now
        if self._frames < 0:
            self._timer = self._clock.callLater(-self._frames / FRAMES_A_SECOND, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        self._pump()


def _drop(data: bytes) -> None:
    """In the place of a parser that has gone, so that it is not held."""
