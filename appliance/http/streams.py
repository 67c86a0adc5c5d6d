"""Bodies on their way out as fast as the client takes them, and no faster."""

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


class Connection(Protocol):
    """What a transport offers a producer."""

    def write(self, data: bytes) -> object:
        """Send bytes."""


class Consumer(Protocol):
    """The request a body is sent to."""

    @property
    def transport(self) -> Connection:
        """Where the bytes go."""

    def registerProducer(self, producer: object, streaming: bool) -> object:
        """Let the client's pace reach the producer."""

    def unregisterProducer(self) -> object:
        """End that."""


class Source(Protocol):
    """Where a stream comes from. It reads ahead no more than a bound of its own."""

    async def read(self) -> bytes:
        """The next piece, as soon as there is one; empty at the end. Raises what went wrong."""

    def close(self) -> None:
        """No more is wanted: let go of everything. Called once, also after the end."""


@implementer(IPushProducer)
class Paced:
    """Knows whether the client keeps up, and whether it is still there."""

    def __init__(self) -> None:
        self._resumed: Deferred[None] | None = None
        self._paused = False
        self._stopped = False

    async def room(self) -> bool:
        """Return True when the client takes more, False when it is gone."""
        while self._paused and not self._stopped:
            self._resumed = Deferred()
            await self._resumed
        return not self._stopped

    def pauseProducing(self) -> None:
        """The client is slower than the source."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The client has caught up."""
        self._paused = False
        self._wake()

    def stopProducing(self) -> None:
        """The client is gone."""
        self._stopped = True
        self._wake()

    def _wake(self) -> None:
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)


class StreamSender(Paced):
    """Sends what `source` gives until its end; in chunks (RFC 9112 section 7.1) where `chunked`, else as it is."""

    def __init__(self, source: Source, *, chunked: bool) -> None:
        super().__init__()
        self._source = source
        self._chunked = chunked
        self.sent = 0
        self.complete = False

    async def send_to(self, request: Consumer) -> None:
        """Send; `sent` and `complete` tell how far it got. The source is the caller's to close."""
        transport = request.transport
        request.registerProducer(self, True)
        try:
            while await self.room():
                piece = await self._source.read()
                if self._stopped:
                    break
                if self._chunked:
                    transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                elif piece:
                    transport.write(piece)
                if not piece:
                    self.complete = True
                    break
                self.sent += len(piece)
        finally:
            if not self._stopped:
                request.unregisterProducer()
