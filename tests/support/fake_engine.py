"""An engine that says what the test wants, for what real ones say too seldom: HTTP by hand on a Unix socket."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor as global_reactor
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from appliance.host.containers.docker.client import EngineClient

reactor: Any = global_reactor

VERSION = b'{"ApiVersion":"1.41","MinAPIVersion":"1.12","Components":[{"Name":"Engine"}]}'
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)", re.IGNORECASE)


def answer(body: bytes = b"", status: int = 200, *headers: str) -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def chunked(*pieces: bytes, whole: bool = True) -> bytes:
    """An answer in chunks; with its end if it is `whole`."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + (b"0\r\n\r\n" if whole else b"")


class Connection(Protocol):
    """One request of the server's; `take`, where it is set, gets what comes from then on."""

    transport: Any
    factory: Any

    def connectionMade(self) -> None:
        self.take: Callable[[bytes], None] | None = None
        self.data = b""
        self.closed = False
        self.factory.engine.connections.append(self)

    def dataReceived(self, data: bytes) -> None:
        if self.take is not None:
            self.take(data)
            return
        self.data += data
        head, blank, body = self.data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if blank and len(body) >= int(length[1] if length is not None else 0):
            self.data = b""
            method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
            self.factory.engine.receive(self, method, target, head, body)

    def write(self, data: bytes) -> None:
        """Send something."""
        self.transport.write(data)

    def close(self) -> None:
        """Hang up."""
        self.transport.loseConnection()

    def connectionLost(self, reason: object = None) -> None:
        self.closed = True


class FakeEngine:
    """Listens; answers by path. What is a bytes is sent, what is a function is called with the connection."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="engine-", dir="/tmp"))
        self.path = self.folder / "engine.sock"
        self.said: dict[str, bytes | Callable[[Connection], None]] = {"GET /version": answer(VERSION)}
        self.heard: list[str] = []
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections: list[Connection] = []
        self._port: Any = None

    def listen(self) -> None:
        factory: Any = Factory.forProtocol(Connection)
        factory.engine = self
        factory.noisy = False
        self._port = cast(IListeningPort, reactor.listenUNIX(str(self.path), factory))

    def receive(self, connection: Connection, method: str, target: str, head: bytes, body: bytes) -> None:
        self.heard.append(f"{method} {target}")
        self.heads.append(head)
        self.bodies.append(body)
        said = self.said.get(f"{method} {re.sub(r'^/v[0-9.]+', '', target.partition('?')[0])}")
        if callable(said):
            said(connection)
        else:
            connection.write(said if said is not None else answer(b'{"message":"no such thing"}', 404))

    async def stop(self, *, leave_socket: bool = False) -> None:
        if self._port is not None:
            port, self._port = self._port, None
            await port.stopListening()
        for connection in self.connections:
            connection.transport.abortConnection()
        if leave_socket:
            import socket

            with socket.socket(socket.AF_UNIX) as left:
                left.bind(str(self.path))


class EngineTestCase(TestCase):
    """A case with a fake engine, and a client of it."""

    timeout = 60

    def setUp(self) -> None:
        self.engine = FakeEngine()
        self.engine.listen()
        self.addCleanup(self._end)
        self.client = self.new_client()

    def new_client(self, *places: Path) -> EngineClient:
        """One that has not asked anything yet, of the fake engine where nothing is in `places`."""
        client = EngineClient(reactor, [*places, self.engine.path])
        self.addCleanup(client.close)
        return client

    async def until(self, condition: Callable[[], object]) -> None:
        """Return when `condition` holds; the case's own time limit bounds it."""
        while not condition():
            await deferLater(reactor, 0.005, lambda: None)

    async def heard(self, request: str) -> None:
        """Return when `request` is the last that the engine has heard."""
        await self.until(lambda: self.engine.heard[-1:] == [request])

    async def failure(self, waited: Any) -> Exception:
        """What a coroutine fails with."""
        try:
            await waited
        except Exception as error:
            return error
        raise AssertionError("it did not fail")

    async def _end(self) -> None:
        await self.engine.stop()
        await self.until(lambda: all(connection.closed for connection in self.engine.connections))
        await deferLater(reactor, 0, lambda: None)
        self.engine.path.unlink(missing_ok=True)
        self.engine.folder.rmdir()
