"""A server that says what it likes: TLS with a certificate of its own, and bytes by hand."""

import base64
import contextlib
import hashlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from appliance.http.certificates import make_self_signed

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


class HostileServer:
    """Answers every request with the bytes `answer`; where there are `messages`, by a WebSocket that sends them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate = folder / "server.pem"
        pair = make_self_signed(["localhost"], ["127.0.0.1"], datetime.now(UTC))
        self.certificate.write_bytes(pair.certificate_pem + pair.key_pem)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(self.certificate)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self.answer = b""
        self.messages: tuple[bytes, ...] = ()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Serve nobody any more."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), self._context.wrap_socket(connection, server_side=True) as client:
                client.settimeout(30)
                self._serve_one(client)

    def _serve_one(self, client: ssl.SSLSocket) -> None:
        request = b""
        while not _is_whole(request):  # or closing would be a reset, and the answer lost
            piece = client.recv(65536)
            if not piece:
                return
            request += piece
        if self.messages:
            client.sendall(_accepted(request) + b"".join(_frame(message) for message in self.messages))
            while client.recv(65536):  # until the client has had enough
                pass
        else:
            client.sendall(self.answer)


@contextlib.contextmanager
def hostile_server(folder: Path) -> Iterator[HostileServer]:
    """A server, closed afterwards."""
    server = HostileServer(folder)
    try:
        yield server
    finally:
        server.close()


def _is_whole(request: bytes) -> bool:
    head, blank, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\nContent-Length: *(\d+)", head)
    return bool(blank) and len(body) >= int(length[1] if length is not None else 0)


def _accepted(head: bytes) -> bytes:
    key = re.search(rb"(?i)\r\nSec-WebSocket-Key: *(\S+)", head)
    assert key is not None
    accept = base64.b64encode(hashlib.sha1(key[1] + _GUID).digest())
    return b"\r\n".join(
        [
            b"HTTP/1.1 101 Switching Protocols",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: " + accept,
            b"",
            b"",
        ]
    )


def _frame(message: bytes) -> bytes:
    """A text frame (RFC 6455 section 5.2)."""
    assert len(message) < 126
    return bytes((0x81, len(message))) + message
