"""A WebSocket to the real server over TLS, by the package `websockets`: a client that shares no code with the server.

Its part that knows no sockets is used, and ours reads and writes in one thread: Python's TLS sockets do not bear two.
"""

import contextlib
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from tests.support.machine import SystemServer

SECONDS = 60.0
_READ = 1 << 16


class LiveSocket:
    """Says and hears the messages of the system surface. Nothing is read but when the test wants to hear."""

    def __init__(self, connection: ssl.SSLSocket, url: str, origin: str | None, headers: dict[str, str]) -> None:
        """Raises `InvalidStatus` where the server refuses to open it."""
        self.connection = connection
        self._protocol = ClientProtocol(parse_uri(url), origin=origin, max_size=None)  # type: ignore[arg-type]
        self._events: deque[Any] = deque()
        self._parts: list[bytes] = []
        request = self._protocol.connect()
        request.headers.update(headers)
        self._protocol.send_request(request)
        self._flush()
        while not self._events:
            self._read()
        response = self._events.popleft()
        assert isinstance(response, Response)
        if self._protocol.handshake_exc is not None:
            raise InvalidStatus(response)

    def say(self, type: str, **fields: object) -> None:
        """Send a message."""
        self.send(msgspec.json.encode({"type": type, **fields}))

    def send(self, message: bytes, *, binary: bool = False) -> None:
        """Send a message of any content."""
        if binary:
            self._protocol.send_binary(message)
        else:
            self._protocol.send_text(message)
        self._flush()

    def hear(self) -> Any:
        """The next message."""
        while (message := self._message()) is None:
            assert self.close_code is None, f"closed with {self.close_code}"
            self._read()
        return msgspec.json.decode(message)

    def hear_until(self, wanted: Callable[[Any], object]) -> Any:
        """The next message that is wanted; others are passed over."""
        while not wanted(message := self.hear()):
            pass
        return message

    def log_in(self, token: str) -> Any:
        """Send `auth` and return its answer."""
        self.say("auth", payload={"token": token})
        return self.hear()

    @property
    def close_code(self) -> int | None:
        """The server's close code; None before it has closed, 1006 where the connection broke."""
        return self._protocol.close_code if self._protocol.close_rcvd or self._protocol.eof_sent else None

    def end(self) -> int:
        """The close code, once the server has closed; messages that come before stay to be heard."""
        while self.close_code is None:
            self._read()
        return self.close_code

    def close(self) -> None:
        """Close in good order, passing over what comes meanwhile."""
        with contextlib.suppress(OSError):
            if self._protocol.close_rcvd is None:
                self._protocol.send_close(1000)
                self._flush()
                self.end()
        self.connection.close()

    def _message(self) -> bytes | None:
        while self._events:
            frame: Frame = self._events.popleft()
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._parts.append(bytes(frame.data))
                if frame.fin:
                    parts, self._parts = self._parts, []
                    return b"".join(parts)
        return None

    def _read(self) -> None:
        data = self.connection.recv(_READ)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        self._flush()
        self._events += self._protocol.events_received()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                with contextlib.suppress(OSError):  # the server has gone meanwhile
                    self.connection.sendall(data)


@contextlib.contextmanager
def live_socket(
    server: SystemServer,
    path: str,
    who: str | None = "admin",
    *,
    origin: str | None = None,
    headers: dict[str, str] | None = None,
) -> Iterator[LiveSocket]:
    """A socket on a path below the root, as who has logged in; None says nothing yet.

    Raises `InvalidStatus` where the server refuses to open it.
    """
    port = server.server.port
    context = ssl.create_default_context(cafile=str(server.server.certificate))
    plain = server.machine.connect("127.0.0.1", port)
    plain.settimeout(SECONDS)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
        socket = LiveSocket(connection, f"wss://127.0.0.1:{port}{path}", origin, headers or {})
        if who is not None:
            answer = socket.log_in(server.tokens[who])
            assert answer["payload"] == {"authenticated": True, "username": who}, answer
        yield socket
        socket.close()
