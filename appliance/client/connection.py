"""A WebSocket to a server, for commands: messages come as an iteration, which holds the server back when it is slow."""

from collections import deque
from typing import Any, NamedTuple, cast

import msgspec
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from appliance.client.errors import ClientError, Unreachable
from appliance.client.login import TIMEOUT, Envelope, unreachable
from appliance.client.message import Message
from appliance.client.remote import Remote
from appliance.secret import Secret

_FOR_NOW = (b"429", b"503")  # of a status line "HTTP/1.1 503 …": refusals that pass

WAITING_LIMIT = 64
"""Messages that may wait to be taken; beyond that nothing is read."""


class End(NamedTuple):
    """How a connection has ended: close code and reason (RFC 6455 section 7.4)."""

    code: int
    reason: str

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}" if self.reason else str(self.code)


class Connection(WebSocketClientProtocol):
    """
    An open WebSocket. `async for message in connection` gives each message until the end.

    One at a time may iterate; raises `ClientError` for what is no message. `end` tells how it ended, once it has.
    """

    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self.end: End | None = None
        self.opened: Deferred[None] = Deferred()
        self._messages: deque[bytes] = deque()
        self._taker: Deferred[None] | None = None
        self._paused = False

    def send(self, type: str, **fields: object) -> None:
        """Send a message; after the end it is dropped."""
        if self.state == self.STATE_OPEN:
            self.sendMessage(msgspec.json.encode({"type": type, **fields}))

    def close(self) -> None:
        """Begin to close."""
        self.sendClose(1000)

    async def closed(self) -> None:
        """Close, and return when the connection is gone; what still comes is passed over."""
        self.close()
        async for _ in self:
            pass

    def __aiter__(self) -> "Connection":
        return self

    async def __anext__(self) -> Message:
        while not self._messages:
            if self.end is not None:
                raise StopAsyncIteration
            self._taker = Deferred()
            await self._taker
        message = Message(self._messages.popleft())
        if self._paused and len(self._messages) < WAITING_LIMIT // 2:
            self._paused = False
            self.transport.resumeProducing()
        return message

    # What Autobahn calls

    def onOpen(self) -> None:
        """The handshake is over."""
        self.opened.callback(None)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Keep a message until it is taken."""
        self._messages.append(payload)
        if len(self._messages) >= WAITING_LIMIT and not self._paused:
            self._paused = True
            self.transport.pauseProducing()
        self._wake()

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection is gone, or is going."""
        self.end = End(code or 1006, reason or "")
        self._wake()

    def processHandshake(self) -> None:
        """Look at the server's answer. Autobahn decodes it before it checks it."""
        try:
            super().processHandshake()
        except ValueError:
            self.failHandshake("The server answers what is no HTTP")

    def failHandshake(self, reason: str) -> None:
        """The server does not want to: in its own words, where they have come."""
        response = bytes(self.data)
        super().failHandshake(reason)
        if not self.opened.called:
            kind = Unreachable if response[9:12] in _FOR_NOW else ClientError
            self.opened.errback(kind(_words_of(response) or reason))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell whoever waits for the handshake."""
        super().connectionLost(reason)
        if not self.opened.called:
            self.opened.errback(reason)

    def _wake(self) -> None:
        if self._taker is not None:
            taker, self._taker = self._taker, None
            taker.callback(None)


async def connect(reactor: Any, remote: Remote, path: str, token: Secret) -> Connection:
    """Open the WebSocket `path` (as "/ws/logs") as the owner of `token`. Raises `ClientError`, `Unreachable`."""
    url = f"wss://{remote.authority}{path}"
    factory = WebSocketClientFactory(url, headers={"Authorization": f"Bearer {token.reveal()}"}, reactor=reactor)
    factory.protocol = Connection
    # Dead servers are noticed; the closing handshake waits for what a slow terminal has still to show.
    factory.setProtocolOptions(
        openHandshakeTimeout=TIMEOUT, autoPingInterval=20, autoPingTimeout=30, maxMessagePayloadSize=16 << 20
    )
    endpoint = wrapClientTLS(remote.tls(), HostnameEndpoint(reactor, remote.host, remote.port, timeout=TIMEOUT))
    try:
        connection = cast(Connection, await endpoint.connect(factory))
        await connection.opened
    except (ConnectError, ConnectionClosed, DNSLookupError, SSL.Error) as error:
        raise unreachable(remote, error) from None
    return connection


def _words_of(response: bytes) -> str | None:
    try:
        reply = msgspec.json.decode(response.partition(b"\r\n\r\n")[2], type=Envelope)
    except (msgspec.DecodeError, RecursionError):
        return None
    return reply.error.message if reply.error is not None else None
