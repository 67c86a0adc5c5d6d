"""HTTP as bytes over TLS: requests no client library would send, and a reader that forgives nothing."""

import json
import selectors
import socket
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

REQUIRED_HEADERS = {
    "strict-transport-security": "max-age=31536000",
    "x-frame-options": "deny",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
PATIENCE = 30.0
_SEND = 64 * 1024


class Incomplete(Exception):
    """The bytes so far are the beginning of a response."""


@dataclass(frozen=True)
class Response:
    """One response as it stood on the wire."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)

    @property
    def closes(self) -> bool:
        """Whether the server says that it will close the connection."""
        return self.headers.get("connection", "") == "close"


def take_response(data: bytes, method: str = "GET") -> tuple[Response, bytes]:
    """Take the first response off `data`, a response to `method`.

    Raises `Incomplete`, and AssertionError for anything that RFC 9112 does not allow or that we do not send.
    """
    head, blank, rest = data.partition(b"\r\n\r\n")
    if not blank:
        assert b"HTTP/1.1 ".startswith(data[:9]) or data.startswith(b"HTTP/1.1 "), data[:100]
        raise Incomplete
    first, *lines = head.split(b"\r\n")
    version, code, reason = first.decode("ascii").split(" ", 2)
    assert version == "HTTP/1.1" and len(code) == 3 and reason, first
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("ascii").partition(": ")
        assert colon and name.replace("-", "").isalnum() and value.isprintable(), line
        assert name.lower() not in headers, f"{name} stands there twice"
        headers[name.lower()] = value
    status = int(code)
    if status < 200:
        return Response(status, reason, headers, b""), rest
    if "transfer-encoding" in headers:
        assert headers["transfer-encoding"] == "chunked" and "content-length" not in headers
        body, rest = _take_chunks(rest)
        return Response(status, reason, headers, body), rest
    length = 0 if method == "HEAD" or status in (204, 304) else int(headers["content-length"])
    if len(rest) < length:
        raise Incomplete
    return Response(status, reason, headers, rest[:length]), rest[length:]


def _take_chunks(data: bytes) -> tuple[bytes, bytes]:
    """Take a body in chunks (RFC 9112 section 7.1) off `data`."""
    body = b""
    while True:
        size, line_end, rest = data.partition(b"\r\n")
        if not line_end:
            raise Incomplete
        length = int(size, 16)
        if len(rest) < length + 2:
            raise Incomplete
        assert rest[length : length + 2] == b"\r\n", rest[:100]
        body, data = body + rest[:length], rest[length + 2 :]
        if length == 0:
            return body, data


class Wire:
    """One TLS connection to 127.0.0.1 that sends and receives at the same time."""

    def __init__(self, port: int) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.raw = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket = context.wrap_socket(self.raw)
        self.socket.setblocking(False)
        self.received = b""
        self.sent = 0
        self.ended = False
        self._unsent = b""
        self._more: Iterable[bytes] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.socket.close()

    def send(self, data: bytes, more: Iterable[bytes] = ()) -> None:
        """Queue bytes, and pieces that are made when they are needed; they leave while `response` waits."""
        self._unsent += data
        self._more = iter(more)

    def response(self, method: str = "GET") -> Response:
        """The next response; sending ends with it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                response, self.received = take_response(self.received, method)
            except Incomplete:
                assert not self.ended, f"the connection ended within a response: {self.received!r}"
                assert time.monotonic() < deadline, f"no response in time: {self.received!r}"
                self._turn()
            else:
                if response.status >= 200:
                    self._unsent, self._more = b"", ()
                return response

    def assert_ended(self) -> None:
        """The server closes the connection, and says nothing more before it does."""
        deadline = time.monotonic() + PATIENCE
        while not self.ended:
            assert time.monotonic() < deadline, "the connection stays open"
            self._turn()
        assert self.received == b"", self.received

    def assert_silent(self, seconds: float) -> None:
        """Nothing comes and nothing is closed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._turn(0.05)
            assert (self.received, self.ended) == (b"", False)

    def flood(self, pieces: Iterable[bytes]) -> None:
        """Send all pieces as long as the server takes them, and read nothing into what it answers."""
        self.send(b"", pieces)
        while not self.ended:
            self._turn(0.01)
            if not self._unsent:
                self._unsent = next(iter(self._more), b"")
                if not self._unsent:
                    return

    def _turn(self, seconds: float = 1.0) -> None:
        if not self._unsent:
            self._unsent = next(iter(self._more), b"")
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        if not self.socket.pending():
            with selectors.DefaultSelector() as selector:
                selector.register(self.socket, events)
                selector.select(seconds)
        self._read()
        self._write()

    def _read(self) -> None:
        try:
            data = self.socket.recv(65536)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            data = b""
        self.received += data
        self.ended = self.ended or not data

    def _write(self) -> None:
        try:
            while self._unsent and not self.ended:
                count = self.socket.send(self._unsent[:_SEND])
                self.sent += count
                self._unsent = self._unsent[count:]
                if self.received:
                    return
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            self._unsent, self._more = b"", ()


def assert_error_form(response: Response, status: int) -> None:
    """The response is a refusal in the admin surface's form."""
    assert response.status == status, response
    assert response.headers["content-type"] == "application/json"
    assert "content-security-policy" in response.headers and "date" in response.headers
    for name, value in REQUIRED_HEADERS.items():
        assert response.headers[name] == value
    if not response.body:  # an answer to HEAD
        return
    body = response.json
    assert body["Status"] == f"{status} {response.reason}"
    assert set(body) <= {"Status", "Error-Message", "error-code"}
    assert body.get("Error-Message", "x") != ""
