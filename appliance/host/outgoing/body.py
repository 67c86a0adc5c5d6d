"""The body of an answer as it comes, read as fast as it is used and no faster."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from appliance.host.errors import Unavailable
from appliance.host.outgoing.peer import Peer

HELD = 64 * 1024
"""Bytes that wait for their reader before who sends it is held back."""


class Body(Protocol):
    """One answer's body, for one reader. It must be closed. `whole` is what a complete one ends with.

    What goes wrong is raised as the `peer`'s error.
    """

    transport: Any

    def __init__(self, reactor: IReactorTime, whole: tuple[type[Exception], ...], peer: Peer) -> None:
        self._reactor = reactor
        self._whole = whole
        self._peer = peer
        self._pieces: list[bytes] = []
        self._size = 0
        self._held = HELD
        self._whole_wanted = False
        self._paused = False
        self._ended = False
        self._error: Unavailable | None = None
        self._reader: Deferred[None] | None = None
        self._waking: IDelayedCall | None = None

    async def read(self) -> bytes:
        """What has come since the last time, as soon as something has; empty at the end. Raises `Unavailable`."""
        if not self._pieces and not self._ended:
            self._reader = Deferred(self._forget_reader)
            await self._reader
        if self._pieces:
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            if self._paused:
                self._paused = False
                self.transport.resumeProducing()
            return data
        if self._error is not None:
            raise self._error
        return b""

    async def collect(self, limit: int) -> bytes:
        """All of it, once it is all here. Raises `Unavailable`, also for more than `limit` bytes."""
        self._held = limit
        self._whole_wanted = True
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()
        while not self._ended and self._size <= limit:
            self._reader = Deferred(self._forget_reader)
            await self._reader
        if self._size > limit:
            raise self._peer.said_too_much(limit)
        if self._error is not None:
            raise self._error
        return b"".join(self._pieces)

    def close(self) -> None:
        """Give up what has not come yet; may be called at any time. Who reads is told that this is the end."""
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None
        self._pieces.clear()
        if not self._ended:
            self._ended = True
            self.transport.loseConnection()
        self._wake()

    def dataReceived(self, data: bytes) -> None:
        """Keep a piece; the reader is woken when all that came at once is here."""
        if self._ended:
            return
        self._pieces.append(data)
        self._size += len(data)
        if self._size > self._held and not self._paused:
            self._paused = True
            self.transport.pauseProducing()
        elif self._whole_wanted:
            return
        if self._reader is not None and self._waking is None:
            self._waking = self._reactor.callLater(0, self._wake)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end, or what went wrong."""
        if self._ended:
            return
        self._ended = True
        if reason.check(*self._whole) is None:
            self._error = self._peer.broke()
        if self._reader is not None and self._waking is None:
            # Not now: what comes next may use the connection again, which is put away after this.
            self._waking = self._reactor.callLater(0, self._wake)

    def _wake(self) -> None:
        self._waking = None
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(None)

    def _forget_reader(self, reader: Deferred[None]) -> None:
        self._reader = None
