"""The half of a request that writes its answer: whole, from a file, as a stream, or by giving the connection away."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.web import http
from twisted.web.http_headers import Headers

from appliance.http.call import Call
from appliance.http.dispatch import Answer
from appliance.http.downloads import FileSender
from appliance.http.errors import HttpError
from appliance.http.headers import API_CSP, csp_line, header_lines, status_line
from appliance.http.ranges import Slice, open_slice
from appliance.http.replies import FileReply, Reply, StreamReply, Upgrade
from appliance.http.streams import StreamSender

if TYPE_CHECKING:
    from appliance.http.channel import Channel

_BODILESS = frozenset({204, 304})
LARGE_ANSWER = 64 * 1024
UNSENT_LIMIT = 64 << 20
"""Most bytes of large answers that wait for slow clients: who asks for more of them is refused meanwhile."""
CLIENT_CLOSED_REQUEST = 499  # for the access log only, as nginx notes a client that went away


class AnsweringRequest(http.Request):
    """Writes the one answer of a request on its connection, and notes it in the access log.

    `head_only` is set for a HEAD: then what would be sent is told of, and not sent.
    """

    channel: Any
    transport: Any
    head_only = False
    is_streaming = False

    def __init__(self, channel: "Channel") -> None:
        # Not the parent's: it asks the kernel for both addresses of the socket, at every request.
        self.notifications: list[Deferred[None]] = []
        self.channel = channel
        self.site = channel.site
        self.client = channel.peer
        self.requestHeaders = Headers()
        self.responseHeaders = Headers()
        self.received_cookies: dict[bytes, bytes] = {}
        self.cookies: list[bytes] = []
        self.transport = channel.transport
        self.queued = False
        self._parsePOSTFormSubmission = False
        self.call: Call | None = None

    async def open(self, reply: FileReply) -> None:
        """Open the file that is to be sent. Raises `HttpError`: there may be none, or not what is asked of it."""
        wanted = self.call if reply.ranges else None
        self._slice: Slice = await self.site.threads.run(
            open_slice, Path(reply.path), wanted, temporary=reply.temporary
        )

    async def send(self, reply: Answer) -> None:
        """Write the answer; a file was opened before. Raises what the source of a stream raises."""
        if isinstance(reply, FileReply):
            await self._send_file(reply)
        elif isinstance(reply, StreamReply):
            await self._send_stream(reply)
        elif isinstance(reply, Upgrade):
            self._hand_over(reply)
        else:
            self._send_whole(reply)

    def break_off(self, error: HttpError) -> None:
        """End a request whose answer did not come about: cut off what was begun, say so where nothing was."""
        if self._disconnected or self.finished or self.call is None:
            self.done(CLIENT_CLOSED_REQUEST, 0)
        elif self.startedWriting:
            self._abort()
            self.done(error.status, 0)
        else:
            self._send_whole(self.site.dispatcher.refusal(self.call, error))

    def done(self, status: int, sent: int) -> None:
        """The answer has been written, or never will: note it once, and let the connection go on."""
        if self.call is not None and not self.finished:
            self.site.access_log.add(self.call, status, sent)
        if self.finished:
            return
        self.finished = 1
        self.code = status
        if not self._disconnected:
            channel = self.channel
            del self.channel
            channel.requestDone(self)

    def _abort(self) -> None:
        """Cut the connection, so that the client sees that its answer is not whole."""
        self.channel.persistent = False
        self.channel.transport.abortConnection()

    def _send_whole(self, reply: Reply) -> None:
        if len(reply.body) > LARGE_ANSWER:
            reply = self._affordable(reply)
        body = b"" if self.head_only or reply.status in _BODILESS else reply.body
        self._write_head(reply.status, reply.content_type, len(reply.body), reply.headers, body)
        if len(body) > LARGE_ANSWER and not self._disconnected:
            self.channel.answered(len(body))
        self.done(reply.status, len(body))

    def _affordable(self, reply: Reply) -> Reply:
        """The answer to a read, or a refusal while too much is held for clients that do not read theirs."""
        call = self.call
        if call is None or call.endpoint is None or not call.endpoint.cancellable:
            return reply
        if not self.site.unsent or self.site.unsent + len(reply.body) <= UNSENT_LIMIT:
            return reply
        error = HttpError(503, "Too many answers wait for slow clients", headers={"Retry-After": "5"})
        return self.site.dispatcher.refusal(call, error)

    def _write_head(self, status: int, content_type: str, length: int | None, headers: Any, body: bytes = b"") -> None:
        """Write the head and `body`. What has no length comes in chunks or, by HTTP/1.0, up to the end."""
        if self._disconnected:
            return
        pieces = [status_line(status), self.site.static_headers]
        if status not in _BODILESS:
            pieces.append(f"Content-Type: {content_type}\r\n".encode("ascii"))
            if length is not None:
                pieces.append(b"Content-Length: %d\r\n" % length)
            elif self.clientproto == b"HTTP/1.1":
                pieces.append(b"Transfer-Encoding: chunked\r\n")
        if self.call is not None:
            pieces.append(f"X-Request-Id: {self.call.id}\r\n".encode("ascii"))
            surface = self.call.surface
            csp = surface.csp if surface is not None else API_CSP
        else:
            csp = API_CSP
        pieces.append(csp_line(csp))
        if headers:
            pieces.append(header_lines(headers.items()))
        if not self.channel.persistent:
            pieces.append(b"Connection: close\r\n")
        pieces.append(b"\r\n")
        pieces.append(body)
        self.startedWriting = 1
        self.channel.transport.write(b"".join(pieces))

    def _hand_over(self, reply: Upgrade) -> None:
        """Give the connection away. What comes of it is not this request's any more."""
        if self.call is None or self._disconnected:
            self.done(CLIENT_CLOSED_REQUEST, 0)
            return
        lines = [b"%b %b %b" % (self.method, self.uri, self.clientproto)]
        lines += [
            b"%b: %b" % (name, value) for name, values in self.requestHeaders.getAllRawHeaders() for value in values
        ]
        self.site.access_log.add(self.call, 101, 0)
        self.finished = 1
        channel = self.channel
        del self.channel
        channel.hand_over(reply.protocol, b"\r\n".join([*lines, b"", b""]))

    async def _send_file(self, reply: FileReply) -> None:
        file, size = self._slice.file, self._slice.length
        status = self._slice.status or reply.status
        self._write_head(status, reply.content_type, size, {**reply.headers, **self._slice.headers})
        sent = 0
        try:
            if not self.head_only and not self._disconnected:
                sender = FileSender(self.site.threads, file, size)
                sent = await sender.send_to(self)
        finally:
            await self.site.threads.run(file.close)
        if sent != size and not self.head_only and not self._disconnected:
            self._abort()
        self.done(status, sent)

    async def _send_stream(self, reply: StreamReply) -> None:
        source = reply.source
        sender = StreamSender(source, chunked=self.clientproto == b"HTTP/1.1")
        try:
            if not self._disconnected:
                self._write_head(reply.status, reply.content_type, None, reply.headers)
                self.is_streaming = True
                await sender.send_to(self)
        except Exception as error:
            if self.call is None or self.call.surface is None or self.call.surface.translate(error) is None:
                raise
            self._log.warn("request {request} broke off: {error}", request=self.call.id, error=error)
        finally:
            source.close()
        if not sender.complete and not self._disconnected:
            self._abort()
        self.done(reply.status, sender.sent)
