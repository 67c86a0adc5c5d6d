"""A WebSocket client in the test's own reactor: Autobahn's."""

from typing import Any

import msgspec
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint

from tests.support.listening import reactor


class Client(WebSocketClientProtocol):
    """Keeps what it gets."""

    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[bytes] = []
        self.pongs: list[bytes] = []
        self.opened: Deferred[None] = Deferred()
        self.ended: Deferred[tuple[bool, int | None, str | None]] = Deferred()

    def say(self, type: str, **fields: object) -> None:
        """Send a message of the system surface's form."""
        self.sendMessage(msgspec.json.encode({"type": type, **fields}))

    @property
    def heard(self) -> list[Any]:
        """What has come, decoded."""
        return [msgspec.json.decode(message) for message in self.messages]

    def onOpen(self) -> None:
        self.opened.callback(None)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.messages.append(payload)

    def onPong(self, payload: bytes) -> None:
        self.pongs.append(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if not self.opened.called:
            self.opened.errback(ConnectionRefusedError(reason))
        self.ended.callback((wasClean, code, reason))


async def connect(port: int, path: str, *, origin: str | None = None, headers: dict[str, str] | None = None) -> Client:
    """Open a WebSocket on a plain port of this machine. Raises ConnectionRefusedError with the status in its text."""
    factory = WebSocketClientFactory(f"ws://127.0.0.1:{port}{path}", origin=origin, headers=headers, reactor=reactor)
    factory.protocol = Client
    factory.setProtocolOptions(maxMessagePayloadSize=0, autoPingInterval=0)
    client: Any = await TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(factory)
    await client.opened
    assert isinstance(client, Client)
    return client


def forget_timers() -> None:
    """Cancel Autobahn's batches of timers: its clients leave theirs behind, and connections may still be closing."""
    for call in reactor.getDelayedCalls():
        if getattr(call.func, "__name__", "") == "_notify_bucket":
            del call.func.__self__._buckets[call.args[0]]  # or who takes his own back would cancel it again
            call.cancel()
