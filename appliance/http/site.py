"""The HTTP side of a listening port: makes channels, watches their deadlines, drains them at the end."""

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Site as TwistedSite

from appliance.background import Background
from appliance.http.access_log import AccessLog
from appliance.http.address import TrustedProxies
from appliance.http.channel import Channel
from appliance.http.dispatch import Dispatcher
from appliance.http.errors import HttpError
from appliance.http.headers import API_CSP, SECURITY_HEADERS, date_line, header_line, header_lines, status_line
from appliance.http.request import Request
from appliance.threads import Threads

SWEEP = 1.0
SETTLE = 2.0


@dataclass(frozen=True)
class Limits:
    """How long a client may take: seconds, and for a body bytes per second averaged over ten."""

    header_timeout: float = 10.0
    idle_timeout: float = 60.0
    body_rate_floor: float = 500.0


class Site(TwistedSite):
    """Factory of channels for one or several ports.

    `bare_error` makes the error form for what never became a request. One sweep a second serves all deadlines and
    renews the Date header. HTTP/2 stays off: it costs three times the CPU and cannot carry our WebSockets.
    """

    requestFactory: Any = Request
    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        dispatcher: Dispatcher,
        threads: Threads,
        access_log: AccessLog,
        proxies: TrustedProxies,
        limits: Limits,
        bare_error: Callable[[HttpError], bytes],
    ) -> None:
        super().__init__(Resource(), timeout=None, reactor=clock, parsePOSTFormSubmission=False)
        self.clock = clock
        self.dispatcher = dispatcher
        self.threads = threads
        self.access_log = access_log
        self.proxies = proxies
        self.limits = limits
        self.background = Background()
        self.draining = False
        self.unsent = 0  # bytes of large answers that clients have not read yet
        self._bare_error = bare_error
        self._channels: set[Channel] = set()
        self._drained: Deferred[None] | None = None
        self._ids = itertools.count(1)
        self._id_prefix = os.urandom(4).hex()
        self._sweep = LoopingCall(self._tick)
        self._sweep.clock = clock
        self._tick()

    def startFactory(self) -> None:
        """Begin to sweep. Twisted's own access log is not opened."""
        if not self._sweep.running:
            _ = self._sweep.start(SWEEP, now=False).addErrback(
                lambda failure: self._log.failure("the connection sweep stopped", failure=failure)
            )

    def stopFactory(self) -> None:
        """Nothing: channels outlive the port while they are drained; `drain` ends the sweep."""

    def buildProtocol(self, addr: Any) -> Any:
        """Make a channel for a new connection."""
        channel: Any = Channel()
        channel.factory = self
        channel.site = self
        channel.timeOut = None
        channel.callLater = self.clock.callLater
        channel.requestFactory = self.requestFactory
        return channel

    def acceptableProtocols(self) -> list[bytes]:
        """Offer HTTP/1.1 alone in ALPN; Twisted would offer h2 as soon as that package is installed."""
        return [b"http/1.1"]

    def next_id(self) -> str:
        """Return a request id: unique over restarts, ordered within one."""
        return f"{self._id_prefix}-{next(self._ids):x}"

    def opened(self, channel: Channel) -> None:
        """A connection has begun."""
        self._channels.add(channel)

    def closed(self, channel: Channel) -> None:
        """A connection has ended."""
        self._channels.discard(channel)
        if self._drained is not None and not self._channels:
            drained, self._drained = self._drained, None
            drained.callback(None)

    def bare_response(self, error: HttpError) -> bytes:
        """A whole response to what could not be parsed as a request."""
        body = self._bare_error(error)
        return b"".join(
            [
                status_line(error.status),
                self.static_headers,
                header_line("Content-Security-Policy", API_CSP),
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n".encode("ascii"),
                header_lines(error.headers.items()),
                b"Connection: close\r\n\r\n",
                body,
            ]
        )

    async def drain(self, seconds: float) -> None:
        """Let requests in flight end, for at most `seconds`; then cut what is left."""
        self.draining = True
        deadline = self.clock.seconds() + seconds
        for channel in list(self._channels):
            channel.drain()
        if self._channels:
            self._drained = Deferred()
            timeout = self.clock.callLater(seconds, self._abort_all)
            await self._drained
            if timeout.active():
                timeout.cancel()
        await self._settle(deadline)
        if self._sweep.running:
            self._sweep.stop()

    async def _settle(self, deadline: float) -> None:
        """Give changes whose clients are gone, and the deletion of half-received files, until `deadline`."""
        left = max(deadline - self.clock.seconds(), SETTLE)
        await self.background.wait().addTimeout(left, self.clock, onTimeoutCancel=lambda result, _: None)
        await self.background.stop()

    def _abort_all(self) -> None:
        for channel in list(self._channels):
            channel.transport.abortConnection()

    def _tick(self) -> None:
        self.now = self.clock.seconds()
        self.static_headers = SECURITY_HEADERS + date_line(self.now)
        for channel in list(self._channels):
            try:
                channel.check(self.now)
            except Exception:  # one connection's defect must not end the watch over all others
                self._log.failure("a connection could not be checked and is cut")
                channel.transport.abortConnection()
