"""One WebSocket: messages go to its conversation in order, one at a time; what is sent waits while the peer is slow."""

from collections import deque
from typing import Any, Protocol

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from appliance.background import Background
from appliance.websocket.frames import (
    ABNORMAL,
    GOING_AWAY,
    INTERNAL_ERROR,
    NO_CODE,
    TOO_BIG,
    UNSUPPORTED,
    prepared,
)
from appliance.websocket.intake import Intake

MESSAGE_LIMIT = 1 << 20
FRAGMENT_LIMIT = 16_384
"""Frames that a message may come in."""
WAITING_LIMIT = 64
"""Messages of one peer that may wait for their turn; beyond that its connection is not read."""
WAITING_BYTES = 2 << 20

PING_TIMEOUT = 30
STOP_SECONDS = 2.0
"""What peers get to answer our farewell when the server stops."""


_LAST_DATA_OPCODE = 7


class _Silence:
    """In the place of Autobahn's log, which peers could fill, and quotes them."""

    def debug(self, *args: object, **kwargs: object) -> None:
        """Nothing."""

    info = warn = error = failure = trace = debug


class Conversation(Protocol):
    """What is said over a socket."""

    def opened(self, socket: "Socket") -> None:
        """The handshake is over; from now on messages may be sent."""

    async def received(self, message: bytes) -> None:
        """Deal with a text message. The next one comes when this has ended. What it raises closes the socket."""

    def closed(self) -> None:
        """The connection is gone; called once, whoever ended it, and also when the handshake failed."""


@implementer(IPushProducer)
class Socket(WebSocketServerProtocol):
    """A WebSocket connection. It is the transport's producer, so that it knows when the peer does not keep up."""

    transport: Any
    factory: "Sockets"
    log = _Silence()
    _log = Logger()

    def __init__(self, conversation: Conversation, background: Background, clock: IReactorTime) -> None:
        super().__init__()
        self.slow = False
        self.sent = 0
        self._intake = Intake(clock, super().dataReceived)
        self._fragments = 0
        self._ping: bytes | None = None
        self._conversation = conversation
        self._background = background
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._held = False
        self._working = False
        self._ended = False
        self._drained: list[Deferred[None]] = []

    @property
    def can_send(self) -> bool:
        """Whether messages can be sent."""
        return bool(self.state == self.STATE_OPEN)

    @property
    def close_code(self) -> int:
        """How the connection ended (RFC 6455 section 7.4): our code where we began to close, else the peer's."""
        ours: int | None = self.localCloseCode if self.closedByMe else None
        theirs: int | None = self.remoteCloseCode
        if ours is not None:
            return ours
        return theirs if theirs is not None else NO_CODE if self.wasClean else ABNORMAL

    def send(self, message: bytes) -> None:
        """Send a text message (UTF-8); does nothing on a socket that is not open.

        Whoever sends without being asked looks at `slow` first, or awaits `drained`.
        """
        # Not sendMessage: it holds what we send to the limit of what we take.
        self.send_prepared(prepared(message))

    def send_prepared(self, frame: bytes) -> None:
        """Send a whole frame that `prepared` made once for many sockets."""
        if self.can_send:
            self.sent += len(frame)
            self.transport.write(frame)

    def close(self, code: int, reason: str) -> None:
        """Begin to close; `code` is one of RFC 6455 section 7.4, `reason` at most 123 bytes.

        Messages that wait for their turn are not dealt with any more. What was sent before still goes out: the peer
        gets half a minute to take it and to answer.
        """
        if self.can_send:
            self._forget_waiting()
            # Not sendClose: it takes the codes of applications only.
            self.sendCloseFrame(code, reason.encode(), isReply=False)

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abortConnection()

    async def drained(self) -> None:
        """Return when the peer has taken what was sent, at once where it keeps up, or when the socket has ended."""
        if self.slow and not self._ended:
            waiting: Deferred[None] = Deferred(self._drained.remove)
            self._drained.append(waiting)
            await waiting

    # What Autobahn calls

    def connectionMade(self) -> None:
        """The connection is ours from now on."""
        self._intake.transport = self.transport
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """Let the parser have it by and by."""
        self._intake.receive(data)

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        """Refuse without the reason, which quotes what the client sent."""
        super().failHandshake("Bad Request", 400)

    def onOpen(self) -> None:
        """Take part in the transport's flow control."""
        self.http_request_data, self.http_response_data, self.http_headers = b"", "", {}  # Autobahn keeps them
        self.transport.registerProducer(self, True)
        self.factory.opened(self)
        self._conversation.opened(self)

    def onFrameBegin(self) -> None:
        """Count frames, and those of one message."""
        self._intake.frame()
        super().onFrameBegin()
        if self.current_frame.opcode <= _LAST_DATA_OPCODE:
            self._fragments = self._fragments + 1 if self.current_frame.opcode == 0 else 0
            if self._fragments > FRAGMENT_LIMIT and self.can_send:
                self._fail_connection(TOO_BIG, "too many fragments")

    def onPing(self, payload: bytes) -> None:
        """Answer; while the peer does not take answers, the last ping is enough (RFC 6455 section 5.5.3)."""
        if self.slow:
            self._ping = payload
        else:
            super().onPing(payload)

    def onAutoPingTimeout(self) -> None:
        """The peer is dead, unless it is us who do not read its answer."""
        if self._intake.is_paused and not self.slow:
            self.autoPingTimeoutCall = self.factory._batched_timer.call_later(PING_TIMEOUT, self.onAutoPingTimeout)
        else:
            super().onAutoPingTimeout()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Put a message in the queue."""
        if not self.can_send:
            return  # it came while we close
        if isBinary:
            self.close(UNSUPPORTED, "text messages only")
            return
        self._waiting.append(payload)
        self._waiting_bytes += len(payload)
        self._throttle()
        if not self._working:
            self._working = True
            self._background.spawn("a WebSocket's messages", self._work())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the conversation."""
        self._intake.stop()
        super().connectionLost(reason)
        if self._ended:
            return
        self._ended = True
        self._forget_waiting()
        self._wake()
        try:
            self._conversation.closed()
        finally:
            self._let_go()
            self.factory.closed(self)  # last: who waits for the end of all goes on at once

    # What the transport calls

    def pauseProducing(self) -> None:
        """The peer does not keep up."""
        self.slow = True

    def resumeProducing(self) -> None:
        """The peer has caught up."""
        self.slow = False
        if self._ping is not None:
            payload, self._ping = self._ping, None
            super().onPing(payload)
        self._wake()

    def stopProducing(self) -> None:
        """The connection is going; `connectionLost` follows."""

    def _let_go(self) -> None:
        """Break our reference cycles and end Autobahn's last timer, so that nothing waits for the garbage collector.

        See `http.tls_transport` for what that is good for.
        """
        timer: Any = self.closeHandshakeTimeoutCall
        if timer is not None:
            timer.cancel()
            self.closeHandshakeTimeoutCall = None
        del self.is_closed  # whose result is the socket
        del self._conversation

    def _wake(self) -> None:
        drained, self._drained = self._drained, []
        for waiting in drained:
            waiting.callback(None)

    async def _work(self) -> None:
        try:
            while self._waiting and not self._ended:
                message = self._waiting.popleft()
                self._waiting_bytes -= len(message)
                self._throttle()
                await self._conversation.received(message)
        except Exception:
            self._log.failure("A WebSocket's message could not be dealt with")
            self.close(INTERNAL_ERROR, "internal error")
        finally:
            self._working = False

    def _throttle(self) -> None:
        """Stop reading while too much waits."""
        too_much = len(self._waiting) >= WAITING_LIMIT or self._waiting_bytes >= WAITING_BYTES
        if too_much and not self._held:
            self._held = True
            self._intake.hold()
        elif self._held and not too_much and not self._ended:
            self._held = False
            self._intake.release()

    def _forget_waiting(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0
        self._throttle()


class Sockets(WebSocketServerFactory):
    """Makes the sockets of one server and knows the open ones."""

    def __init__(self, reactor: Any, background: Background) -> None:
        super().__init__(reactor=reactor, server="")
        self._clock: IReactorTime = reactor
        self._background = background
        self._open: set[Socket] = set()
        self._closed: Deferred[None] | None = None
        self.setProtocolOptions(
            maxFramePayloadSize=MESSAGE_LIMIT,
            maxMessagePayloadSize=MESSAGE_LIMIT,
            openHandshakeTimeout=5,
            # A slow peer may take as long as the kernel waits for one that takes nothing (see http.connections).
            closeHandshakeTimeout=30,
            autoPingInterval=20,
            autoPingTimeout=PING_TIMEOUT,
            autoPingRestartOnAnyTraffic=True,
            failByDrop=False,
            echoCloseCodeReason=False,
            webStatus=False,
            allowNullOrigin=True,  # origins are judged before the upgrade
        )

    def make(self, conversation: Conversation) -> Socket:
        """A socket for `conversation`, to be given the connection."""
        socket = Socket(conversation, self._background, self._clock)
        socket.factory = self
        return socket

    @property
    def open(self) -> int:
        """Sockets open now."""
        return len(self._open)

    def opened(self, socket: Socket) -> None:
        """A handshake has succeeded."""
        self._open.add(socket)

    def closed(self, socket: Socket) -> None:
        """A connection has ended."""
        self._open.discard(socket)
        if not self._open and self._closed is not None:
            closed, self._closed = self._closed, None
            closed.callback(None)

    async def close_all(self) -> None:
        """Close every socket because the server stops; return when all are gone, which takes two seconds at most."""
        for socket in list(self._open):
            socket.close(GOING_AWAY, "the server is stopping")
        if self._open:
            self._closed = Deferred()
            timeout = self._clock.callLater(STOP_SECONDS, self._abort_all)
            await self._closed
            if timeout.active():
                timeout.cancel()

    def _abort_all(self) -> None:
        for socket in list(self._open):
            socket.abort()
