"""The optional plain HTTP port: it sends everybody to HTTPS and does nothing else."""

import re
from typing import cast

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ITCPTransport, ITransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from appliance.http.address import host_is_valid
from appliance.http.headers import API_CSP, PLAIN_SECURITY_HEADERS, header_line

HEAD_LIMIT = 8 * 1024
HEAD_SECONDS = 10.0
"""From connecting to the last header; more bytes do not prolong it."""
DRAIN_LIMIT = 256 * 1024
DRAIN_SECONDS = 2.0

_END = re.compile(rb"\r?\n\r?\n")
_REQUEST_LINE = re.compile(
    rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32} "
    rb"(?:[Hh][Tt][Tt][Pp]://(?P<authority>[^/?#\s]+))?(?P<target>/[\x21-\x7e]*)? "
    rb"HTTP/1\.(?P<minor>[01])"
)
_HEADER = re.compile(rb"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+):(?P<value>[^\x00\r\n]*)")
_PORT = re.compile(rb":[0-9]*\Z")


def answer(head: bytes, https_port: int) -> bytes:
    """
    The whole response to the request whose head, without the empty line, is `head`.

    308 (RFC 9110 section 15.4.9, so that methods stay as they are) to the same host, path and query at
    `https_port`, with path and query as they came. What is not HTTP/1, or names no valid host, gets a 400. The security
    headers but HSTS, which RFC 6797 section 7.2 forbids over plain HTTP.
    """
    location = _location(head, https_port)
    if location is None:
        return _response(b"400 Bad Request", b"")
    return _response(b"308 Permanent Redirect", b"Location: " + location + b"\r\n")


def _location(head: bytes, https_port: int) -> bytes | None:
    first, *rest = [line.removesuffix(b"\r") for line in head.split(b"\n")]
    request = _REQUEST_LINE.fullmatch(first)
    if request is None:
        return None
    headers = Headers()
    for line in rest:
        header = _HEADER.fullmatch(line)
        if header is None:
            return None
        headers.addRawHeader(header["name"], header["value"].strip(b" \t"))
    if not host_is_valid(headers, http_1_1=request["minor"] == b"1"):
        return None
    if request["authority"] is not None:
        # In absolute form the target's own authority rules (RFC 9112 section 3.2.2).
        headers.setRawHeaders(b"Host", [request["authority"]])
    elif request["target"] is None:
        return None
    hosts = headers.getRawHeaders(b"Host")
    if not hosts or not host_is_valid(headers, http_1_1=True):
        return None
    port = b"" if https_port == 443 else b":%d" % https_port
    return b"https://" + _PORT.sub(b"", hosts[0]) + port + (request["target"] or b"/")


def _response(status: bytes, headers: bytes) -> bytes:
    lines = [status, b"\r\n", PLAIN_SECURITY_HEADERS, header_line("Content-Security-Policy", API_CSP), headers]
    return b"HTTP/1.1 " + b"".join(lines) + b"Content-Length: 0\r\nConnection: close\r\n\r\n"


class RedirectFactory(Factory["RedirectProtocol"]):
    """Serves `RedirectProtocol`, sending clients to `https_port` of the host they asked for."""

    noisy = False

    def __init__(self, reactor: IReactorTime, https_port: int) -> None:
        self.reactor = reactor
        self.https_port = https_port

    def buildProtocol(self, addr: IAddress | None) -> "RedirectProtocol":
        return RedirectProtocol(self.reactor, self.https_port)


class RedirectProtocol(Protocol):
    """One request, one response, then the end."""

    def __init__(self, reactor: IReactorTime, https_port: int) -> None:
        self._reactor = reactor
        self._https_port = https_port
        self._head = bytearray()
        self._answered = False
        self._drained = 0
        self._deadline: IDelayedCall | None = None

    def makeConnection(self, transport: ITransport) -> None:
        self._deadline = self._reactor.callLater(HEAD_SECONDS, self._abort)
        super().makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        if self._answered:
            self._drain(data)
            return
        self._head += data
        end = _END.search(self._head, 0, HEAD_LIMIT)
        if end is not None:
            self._answer(answer(bytes(self._head[: end.start()]), self._https_port))
        elif len(self._head) >= HEAD_LIMIT:
            self._answer(_response(b"431 Request Header Fields Too Large", b""))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    def _answer(self, response: bytes) -> None:
        self._answered = True
        self._head.clear()
        transport = self._tcp
        transport.write(response)
        # Closing at once, with a body of the client's unread, would reset the connection under the answer.
        transport.loseWriteConnection()
        if self._deadline is not None and self._deadline.active():
            self._deadline.reset(DRAIN_SECONDS)

    def _drain(self, data: bytes) -> None:
        self._drained += len(data)
        if self._drained > DRAIN_LIMIT:
            self._abort()

    def _abort(self) -> None:
        self._tcp.abortConnection()

    @property
    def _tcp(self) -> ITCPTransport:
        return cast(ITCPTransport, self.transport)
