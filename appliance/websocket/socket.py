"""One WebSocket: messages go to its conversation in order, one at a time; what is sent waits while the peer is slow."""

from collections import deque
from typing import Any, Protocol

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from appliance.background import Background

MESSAGE_LIMIT = 1 << 20
WAITING_LIMIT = 64
"""Messages of one peer that may wait for their turn; beyond that its connection is not read."""
WAITING_BYTES = 2 << 20

GOING_AWAY = 1001
UNSUPPORTED = 1003
INTERNAL_ERROR = 1011


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
    _log = Logger()

    def __init__(self, conversation: Conversation, background: Background) -> None:
        super().__init__()
        self.slow = False
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

    def send(self, message: bytes) -> None:
        """Send a text message (UTF-8); does nothing on a socket that is not open.

        Whoever sends without being asked looks at `slow` first, or awaits `drained`.
        """
        if self.can_send:
            self.sendMessage(message)

    def send_prepared(self, frame: bytes) -> None:
        """Send a whole frame that was made once for many sockets."""
        if self.can_send:
            self.transport.write(frame)

    def close(self, code: int, reason: str) -> None:
        """Begin to close; `code` is one of RFC 6455 section 7.4, `reason` at most 123 bytes."""
        if self.can_send:
            # Not sendClose: it takes the codes of applications only.
            self.sendCloseFrame(code, reason.encode(), isReply=False)

    async def drained(self) -> None:
        """Return when the peer has taken what was sent, at once where it keeps up, or when the socket has ended."""
        if self.slow and not self._ended:
            waiting: Deferred[None] = Deferred(self._drained.remove)
            self._drained.append(waiting)
            await waiting

    # What Autobahn calls

    def onOpen(self) -> None:
        """Take part in the transport's flow control."""
        self.transport.registerProducer(self, True)
        self.factory.opened(self)
        self._conversation.opened(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Put a message in the queue."""
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
        super().connectionLost(reason)
        if self._ended:
            return
        self._ended = True
        self._waiting.clear()
        self.factory.closed(self)
        self._wake()
        self._conversation.closed()

    # What the transport calls

    def pauseProducing(self) -> None:
        """The peer does not keep up."""
        self.slow = True

    def resumeProducing(self) -> None:
        """The peer has caught up."""
        self.slow = False
        self._wake()

    def stopProducing(self) -> None:
        """The connection is going; `connectionLost` follows."""

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
            self.transport.pauseProducing()
        elif self._held and not too_much and not self._ended:
            self._held = False
            self.transport.resumeProducing()


class Sockets(WebSocketServerFactory):
    """Makes the sockets of one server and knows the open ones."""

    def __init__(self, reactor: Any, background: Background) -> None:
        super().__init__(reactor=reactor, server="")
        self._background = background
        self._open: set[Socket] = set()
        self._closed: Deferred[None] | None = None
        self.setProtocolOptions(
            maxFramePayloadSize=MESSAGE_LIMIT,
            maxMessagePayloadSize=MESSAGE_LIMIT,
            openHandshakeTimeout=5,
            closeHandshakeTimeout=2,
            autoPingInterval=20,
            autoPingTimeout=10,
            autoPingRestartOnAnyTraffic=True,
            failByDrop=False,
            echoCloseCodeReason=False,
            webStatus=False,
            allowNullOrigin=True,  # origins are judged before the upgrade
        )

    def make(self, conversation: Conversation) -> Socket:
        """A socket for `conversation`, to be given the connection."""
        socket = Socket(conversation, self._background)
        socket.factory = self
        return socket

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
        """Close every socket because the server stops; return when all are gone (each gets two seconds)."""
        for socket in list(self._open):
            socket.close(GOING_AWAY, "the server is stopping")
        if self._open:
            self._closed = Deferred()
            await self._closed
