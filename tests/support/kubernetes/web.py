"""HTTP/1.1 over TLS for the double: h11 parses, asyncio carries. One exchange at a time on a connection."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import h11

BODY_LIMIT = 3 * 1024 * 1024  # the real server's, for what changes something
_CHUNK = 65536


@dataclass
class Request:
    """A request with its whole body. `common_name` and `organizations` are those of the client's certificate."""

    method: str
    target: str
    headers: dict[str, str]
    common_name: str | None = None
    organizations: tuple[str, ...] = ()
    body: bytes = b""
    too_large: bool = False
    path: str = field(init=False)
    query: dict[str, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.target)
        self.path = unquote(parts.path)
        # Go takes no parameter that has a bare semicolon.
        kept = [part for part in parts.query.split("&") if ";" not in part]
        self.query = parse_qs("&".join(kept), keep_blank_values=True)

    def parameter(self, name: str) -> str:
        """The first value of a parameter, empty where it is absent."""
        return self.query.get(name, [""])[0]

    def flag(self, name: str) -> bool:
        """Whether a parameter is given and does not say no, as the real server reads truth."""
        return name in self.query and self.parameter(name).lower() not in ("false", "0")


class Gone(Exception):
    """The client has hung up."""


class Exchange:
    """A request and the way to answer it: once by `reply`, or by `begin`, any number of `send`, and `end`."""

    def __init__(self, connection: "_Connection", request: Request) -> None:
        self._connection = connection
        self.request = request
        self.begun = False
        self.ended = False

    async def reply(self, status: int, body: object, content_type: str = "application/json") -> None:
        """A whole answer; what is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode() + b"\n"
        headers = [("Content-Type", content_type), ("Content-Length", str(len(data)))] if status != 204 else []
        if "upgrade" in self.request.headers:
            headers.append(("Connection", "close"))  # a client that wanted more than HTTP sends no further request
        self.begun = self.ended = True
        await self._connection.send(h11.Response(status_code=status, headers=headers))
        if headers:
            await self._connection.send(h11.Data(data=data))
        await self._connection.send(h11.EndOfMessage())

    async def begin(self, status: int, content_type: str) -> None:
        """Open an answer whose length is not known."""
        self.begun = True
        headers = [("Content-Type", content_type), ("Transfer-Encoding", "chunked")]
        await self._connection.send(h11.Response(status_code=status, headers=headers))

    async def send(self, data: bytes) -> None:
        """A piece of an open answer; waits for the client to take it. Raises Gone."""
        if self._connection.hung_up.done():
            raise Gone
        await self._connection.send(h11.Data(data=data))

    async def end(self) -> None:
        """Close an open answer."""
        self.ended = True
        await self._connection.send(h11.EndOfMessage())

    @property
    def hung_up(self) -> "asyncio.Future[bytes]":
        """Done when the client has closed."""
        return self._connection.watch_for_end()

    def take_over(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The bare connection, for what is no HTTP any more."""
        self.begun = self.ended = True
        self._connection.taken = True
        return self._connection.reader, self._connection.writer

    def abort(self) -> None:
        """Cut the connection."""
        self.begun = self.ended = True
        self._connection.writer.transport.abort()


Handler = Callable[[Exchange], Awaitable[None]]


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
        self.reader = reader
        self.writer = writer
        self.taken = False
        self._handler = handler
        self._http = h11.Connection(h11.SERVER)
        self.hung_up: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._watcher: asyncio.Task[None] | None = None

    async def send(self, event: Any) -> None:
        data = self._http.send(event)
        if data:
            self.writer.write(data)
            await self.writer.drain()

    def watch_for_end(self) -> "asyncio.Future[bytes]":
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._read_to_end())
        return self.hung_up

    async def _read_to_end(self) -> None:
        with contextlib.suppress(OSError):
            while await self.reader.read(_CHUNK):
                pass
        if not self.hung_up.done():
            self.hung_up.set_result(b"")

    async def serve(self) -> None:
        try:
            while (request := await self._receive()) is not None:
                exchange = Exchange(self, request)
                await self._handler(exchange)
                if self.taken or self._watcher is not None or self._http.our_state is not h11.DONE:
                    break
                if self._http.their_state is not h11.DONE:
                    break
                self._http.start_next_cycle()
        except (h11.RemoteProtocolError, ConnectionError, ssl.SSLError, Gone):
            pass
        finally:
            if self._watcher is not None:
                self._watcher.cancel()
            self.writer.close()
            with contextlib.suppress(OSError, ssl.SSLError, asyncio.TimeoutError):
                await asyncio.wait_for(self.writer.wait_closed(), 5)

    async def _receive(self) -> Request | None:
        request: Request | None = None
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    await self.send(h11.InformationalResponse(status_code=100, headers=[]))
                self._http.receive_data(await self.reader.read(_CHUNK))
            elif isinstance(event, h11.Request):
                request = self._begin(event)
            elif isinstance(event, h11.Data):
                assert request is not None
                request.body += bytes(event.data)
                if len(request.body) > BODY_LIMIT:
                    request.too_large = True
                    return request
            elif isinstance(event, h11.EndOfMessage):
                return request
            else:
                return None

    def _begin(self, event: h11.Request) -> Request:
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in event.headers}
        request = Request(event.method.decode(), event.target.decode(), headers)
        certificate = self.writer.get_extra_info("peercert") or {}
        for (pair,) in certificate.get("subject", ()):
            if pair[0] == "commonName":
                request.common_name = pair[1]
            elif pair[0] == "organizationName":
                request.organizations += (pair[1],)
        return request


async def listen(handler: Handler, context: ssl.SSLContext, port: int) -> asyncio.Server:
    """Serve on 127.0.0.1; port 0 takes a free one."""
    connections: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _Connection(reader, writer, handler).serve()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(accept(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    return await asyncio.start_server(accepted, "127.0.0.1", port, ssl=context, limit=_CHUNK)
