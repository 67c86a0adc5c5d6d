"""One connection: HTTP/1.1 as Twisted parses it, with our answers to what is malformed, slow or refused.

This module, `request`, `answering` and `tls_transport` are the only ones that use private names of Twisted;
`tests/http/test_twisted_internals.py` and `test_tls_transport.py` fail loudly when an upgrade changes them.
"""

from enum import Enum
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IProtocol, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from appliance.http.errors import HttpError

if TYPE_CHECKING:
    from appliance.http.request import Request
    from appliance.http.site import Site

DRAIN_LIMIT = 8 * 1024 * 1024
DRAIN_SECONDS = 2.0
LARGE_BODY = 1024 * 1024
LARGE_READ = 256 * 1024
SMALL_READ = 64 * 1024
STALLED_WRITER_SECONDS = 120.0
RATE_WINDOW = 10.0


class Phase(Enum):
    """What a connection is doing; each has its own deadline (see `Channel.check`)."""

    IDLE = 1
    HEAD = 2
    BODY = 3
    ANSWERING = 4
    DRAINING = 5


class Channel(HTTPChannel):
    """Speaks HTTP/1.1 with one client.

    Twisted's per-request timers are off; instead the site calls `check` once a second. A client that is refused or
    sends what cannot be parsed gets one whole answer; then what it still sends is read and dropped for at most two
    seconds or 8 MiB, so that the answer reaches it and is not lost in a reset.
    """

    site: "Site"
    requests: "list[Request]"
    transport: Any
    phase = Phase.IDLE
    since = 0.0
    received = 0
    _window_start = 0.0
    _window_received = 0
    _paused = 0
    _stalled_since: float | None = None
    _rejected = False
    _discarded = 0
    _unsent = 0

    def connectionMade(self) -> None:
        """Register with the site. The first request's head is awaited from now on."""
        super().connectionMade()
        self.peer = self.transport.getPeer()
        self.phase, self.since = Phase.HEAD, self.site.now
        self.site.opened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End the request that was going on."""
        try:
            super().connectionLost(reason)
        finally:
            self._sent()
            self.site.closed(self)

    def dataReceived(self, data: bytes) -> None:
        """Note when a request's head begins; then parse."""
        if self.phase is Phase.IDLE:
            self.phase, self.since = Phase.HEAD, self.site.now
        try:
            super().dataReceived(data)
        except ValueError:
            # Twisted leaves a Content-Length of any length to int(), which refuses more than 4300 digits.
            if not self.requests or self.requests[-1].started_body:
                raise
            self.reject(HttpError(400, "Malformed HTTP request"))

    def checkPersistence(self, request: Any, version: bytes) -> bool:
        """Tell whether the connection may stay open: HTTP/1.1, unless asked to close (RFC 9112 section 9.3)."""
        if version != b"HTTP/1.1":
            return False
        options = request.requestHeaders.getRawHeaders(b"Connection")
        if options is None:
            return True
        return b"close" not in [option.strip() for option in b",".join(options).lower().split(b",")]

    def allHeadersReceived(self) -> None:
        """The head is in: judge the request before anything of its body is read."""
        request = self.requests[-1]
        self.persistent = self.checkPersistence(request, self._version) and not self.site.draining
        self.phase, self.since = Phase.BODY, self.site.now
        self._window_start, self._window_received, self.received = self.site.now, 0, 0
        request.head_received(self._command, self._path, self._version, self.length)
        if self.length is None or self.length > LARGE_BODY:
            self._read_at_once(LARGE_READ)

    def allContentReceived(self) -> None:
        """The body is in as well."""
        if self._rejected:
            return
        self.phase = Phase.ANSWERING
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        """The answer is written: wait for the next request, or close."""
        if self._rejected:
            self.requests.remove(request)
            self._close_after_draining()
            return
        self.phase, self.since = Phase.IDLE, self.site.now
        self._read_at_once(SMALL_READ)
        super().requestDone(request)

    def answered(self, size: int) -> None:
        """A large answer was written, which the client may take its time to read."""
        if self._stalled_since is not None:
            self._unsent += size
            self.site.unsent += size

    @property
    def is_rejected(self) -> bool:
        """Whether the request that goes on has been refused before its end."""
        return self._rejected

    def pause_reading(self) -> None:
        """Ask the client for no more; each call wants its `resume_reading`."""
        self._paused += 1
        if self._paused == 1:
            self._producer().pauseProducing()

    def resume_reading(self) -> None:
        """End one `pause_reading`."""
        self._paused -= 1
        if self._paused == 0 and not self._rejected:
            self._window_start, self._window_received = self.site.now, self.received
            self._producer().resumeProducing()

    def continue_expected(self) -> None:
        """Send `100 Continue` (RFC 9110 section 10.1.1)."""
        self._send100Continue()

    def stop_receiving(self) -> None:
        """The request's body is not wanted any more: after the answer the connection ends."""
        self.persistent = False
        self._rejected = True
        self.__dict__.update(
            lineReceived=self._ignore, rawDataReceived=self._ignore, dataReceived=self._discard
        )  # as Twisted's own channel does at its end; what the parser still holds is dropped

    def check(self, now: float) -> None:
        """Called once a second: end what has waited too long."""
        limits = self.site.limits
        waited = now - self.since
        if self._stalled_since is not None and now - self._stalled_since > STALLED_WRITER_SECONDS:
            self.transport.abortConnection()
        elif self.phase is Phase.IDLE and waited > limits.idle_timeout and self._stalled_since is None:
            self._close_unread()
        elif self.phase is Phase.HEAD and waited > limits.header_timeout:
            self.reject(HttpError(408, "The request's head took too long"))
        elif self.phase is Phase.BODY and not self._paused and self._too_slow(now):
            self.reject(HttpError(408, "The request's body came too slowly"))
        elif self.phase is Phase.DRAINING and waited > DRAIN_SECONDS and self._stalled_since is None:
            self.transport.abortConnection()

    def hand_over(self, protocol: IProtocol, head: bytes) -> None:
        """Let `protocol` have the connection from now on, with a request's `head` as the first it receives."""
        transport = self.transport
        transport.unregisterProducer()
        self.requests.clear()
        self._sent()
        self.site.closed(self)
        if isinstance(transport, ProtocolWrapper):
            transport.wrappedProtocol = protocol
        else:
            transport.protocol = protocol
        protocol.makeConnection(transport)
        protocol.dataReceived(head)
        held, self._dataBuffer = b"".join(self._dataBuffer), []
        if held:
            protocol.dataReceived(held)
        # What the parser still holds of the bytes it works on comes out here: it is in raw mode.
        self.__dict__.update(rawDataReceived=protocol.dataReceived)
        self._producer().resumeProducing()

    def drain(self) -> None:
        """The server is stopping: close when idle, else after the answer that is going on, unless that has no end."""
        self.persistent = False
        if self.phase in (Phase.IDLE, Phase.HEAD):
            self._close_unread()
        elif self.requests and self.requests[0].is_streaming:
            self.transport.abortConnection()

    def reject(self, error: HttpError) -> None:
        """Answer something that never became a whole request, and close."""
        if self._rejected:
            return
        waiting = self.requests[-1] if self.requests else None
        if waiting is not None and waiting.started_body:
            waiting.refuse(error)
            return
        self.requests.clear()
        self.stop_receiving()
        self.transport.write(self.site.bare_response(error))
        self._close_after_draining()

    def lineLengthExceeded(self, line: bytes) -> None:
        """A request line or header line beyond 16 KiB."""
        self.reject(HttpError(431 if self.requests else 414))

    def pauseProducing(self) -> None:
        """The client reads too slowly; how long is watched by `check`."""
        self._stalled_since = self.site.now
        super().pauseProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Let a stream begin, paused where the client has not read the answers before it (the next pipelined one)."""
        super().registerProducer(producer, streaming)
        if self._waitingForTransport:
            producer.pauseProducing()

    def resumeProducing(self) -> None:
        """The client has read what waited for it."""
        self._stalled_since = None
        self._sent()
        if self.phase in (Phase.IDLE, Phase.DRAINING):
            self.since = self.site.now
        if self._paused:
            self._waitingForTransport = False
            return
        super().resumeProducing()

    def _sent(self) -> None:
        self.site.unsent -= self._unsent
        self._unsent = 0

    def _respondToBadRequestAndDisconnect(self) -> None:
        oversized = self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders
        self.reject(HttpError(431) if oversized else HttpError(400, "Malformed HTTP request"))

    def _read_at_once(self, size: int) -> None:
        """How much is asked of the kernel in one call; large reads pay off for large bodies only."""
        transport = getattr(self.transport, "transport", self.transport)
        transport.bufferSize = size

    def _too_slow(self, now: float) -> bool:
        if now - self._window_start < RATE_WINDOW:
            return False
        too_slow = self.received - self._window_received < self.site.limits.body_rate_floor * RATE_WINDOW
        self._window_start, self._window_received = now, self.received
        return too_slow

    def _close_unread(self) -> None:
        """Close between requests. One that arrives just now is not acted on: its answer could not be sent."""
        self.stop_receiving()
        self._close_after_draining()

    def _close_after_draining(self) -> None:
        self.phase, self.since = Phase.DRAINING, self.site.now
        self._producer().resumeProducing()
        self.loseConnection()

    def _producer(self) -> Any:
        return IPushProducer(self._networkProducer)

    def _discard(self, data: bytes) -> None:
        self._discarded += len(data)
        if self._discarded > DRAIN_LIMIT:
            self.transport.abortConnection()

    def _ignore(self, data: bytes) -> None:
        """What is left in the line parser's buffer after a refusal."""
