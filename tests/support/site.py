"""A site in memory: endpoints of a test behind the real way of a request, on string transports and a clock."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from appliance.http.access_log import AccessLog
from appliance.http.address import TrustedProxies
from appliance.http.call import Call
from appliance.http.channel import Channel
from appliance.http.dispatch import Dispatcher
from appliance.http.endpoints import Endpoint, bind
from appliance.http.errors import HttpError, forbidden
from appliance.http.receivers import Receivers
from appliance.http.replies import FileReply, Reply
from appliance.http.router import Router
from appliance.http.site import Limits, Site
from appliance.http.surface import Surface, Surfaces, UploadPolicy, only_http_errors
from appliance.http.uploads import Part, Upload
from appliance.identity.caller import Caller
from tests.support.wire import Incomplete, Response, take_response

PREFIX = "/api"


class Parcel(msgspec.Struct):
    """A form with a field of each kind."""

    file: Upload | None = None
    small: Part | None = None
    note: str | None = None


class NoThreads:
    """Runs at once what would run in a thread; or, while `held` is a list, when the test calls `release`."""

    def __init__(self) -> None:
        self.held: list[tuple[Deferred[Any], Callable[[], Any]]] | None = None
        self.calls = 0

    async def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.held is None:
            return function(*args, **kwargs)
        waiting: Deferred[Any] = Deferred()
        self.held.append((waiting, lambda: function(*args, **kwargs)))
        return await waiting

    def release(self, count: int | None = None) -> None:
        """Run the first `count` calls that wait, or all that wait now."""
        assert self.held is not None
        due, self.held[:] = self.held[:count], self.held[len(self.held[:count]) :]
        for waiting, function in due:
            try:
                result: Any = function()
            except Exception:
                result = Failure()
            if not waiting.called:
                waiting.callback(result)


class Doorkeeper:
    """An authenticator that the test tells what to answer.

    `verdict` is a caller, None (the credentials may come in the form), an error to raise, or a Deferred of these.
    In a form `pass` has to be `open`, unless `form_verdict` says otherwise.
    """

    def __init__(self) -> None:
        self.verdict: Any = Caller("token", "tester", frozenset({"administrator"}))
        self.form_verdict: Any = None
        self.expected_digest: str | None = None

    async def identify(self, call: Call, endpoint: Endpoint | None) -> Caller | None:
        call.expected_digest = self.expected_digest
        return await self._judge(self.verdict)  # type: ignore[no-any-return]  # the test's own value

    async def identify_form(self, call: Call, endpoint: Endpoint | None, fields: Mapping[str, str]) -> Caller:
        if self.form_verdict is not None:
            return await self._judge(self.form_verdict)  # type: ignore[no-any-return]  # the test's own value
        if fields.get("pass") != "open":
            raise forbidden("Authentication error")
        return Caller("token", "tester", frozenset({"administrator"}))

    async def _judge(self, verdict: Any) -> Any:
        if isinstance(verdict, Deferred):
            verdict = await verdict
        if isinstance(verdict, Exception):
            raise verdict
        return verdict


class PlainEnvelope:
    """Answers as JSON, refusals as `{"status":…,"message":…}`."""

    def encode(self, value: object, call: Call) -> Reply | FileReply:
        return Reply(200, msgspec.json.encode(value))

    def error(self, error: HttpError, call: Call | None) -> Reply:
        return Reply(
            error.status, msgspec.json.encode({"status": error.status, "message": error.message}), headers=error.headers
        )


class Notebook:
    """An audit trail in a list."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str]] = []

    async def record(self, call: Call, action: str, outcome: str) -> None:
        self.entries.append((action, outcome))


class Transport(StringTransport):
    """A string transport that survives what a real one does: being resumed or closed when it is closed already."""

    aborted = False

    def __init__(self) -> None:
        super().__init__(lenient=True)

    def unregisterProducer(self) -> None:
        if self.producer is not None:
            super().unregisterProducer()

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()

    def write(self, data: bytes) -> None:
        if not self.disconnecting:
            super().write(data)


class Client:
    """One connection to the site."""

    def __init__(self, site: Site) -> None:
        self.transport = Transport()
        self.channel: Channel = site.buildProtocol(None)
        self.channel.makeConnection(self.transport)
        self._taken = 0

    def send(self, *pieces: bytes) -> None:
        """Deliver bytes, each piece as one read."""
        for piece in pieces:
            self.channel.dataReceived(piece)

    @property
    def unread(self) -> bytes:
        """What has been written to the client since it last looked."""
        written: bytes = self.transport.value()
        return written[self._taken :]

    @property
    def is_paused(self) -> bool:
        """Whether the client is held off from sending."""
        return bool(self.transport.producerState == "paused")

    @property
    def is_closed(self) -> bool:
        """Whether the server has closed or cut the connection."""
        return bool(self.transport.disconnecting)

    def response(self, method: str = "GET") -> Response:
        """Take the next response."""
        before = self.unread
        response, rest = take_response(before, method)
        self._taken += len(before) - len(rest)
        return response

    def assert_no_response(self) -> None:
        """Nothing whole or begun waits to be read."""
        try:
            response = self.response()
        except Incomplete:
            assert self.unread == b"", self.unread
        else:
            raise AssertionError(response)

    def leave(self) -> None:
        """The client goes away."""
        if self.transport.producer is not None:
            self.transport.producer.stopProducing()
        self.channel.connectionLost(Failure(ConnectionDone()))


class SiteTestCase(SynchronousTestCase):
    """`serve` an object with endpoints, then `connect` to it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.threads = NoThreads()
        self.doorkeeper = Doorkeeper()
        self.notebook = Notebook()
        self.folder = Path(tempfile.mkdtemp())
        self.logged: list[bytes] = []
        self.addCleanup(self._remove)

    def serve(
        self,
        instance: object,
        limits: Limits | None = None,
        upload_limit: int = 1 << 24,
        translate: Callable[[Exception], HttpError | None] = only_http_errors,
    ) -> Site:
        """Start a site whose only surface has the endpoints of `instance` below `/api`."""
        surface = Surface(
            name="test",
            prefix=PREFIX,
            router=Router(PREFIX, bind(instance)),
            envelope=PlainEnvelope(),
            authenticator=self.doorkeeper,
            audit=self.notebook,
            uploads=UploadPolicy(self.folder, upload_limit),
            translate=translate,
        )
        threads: Any = self.threads
        self.access_log = AccessLog(self.clock, self.logged.append)
        self.site = Site(
            self.clock,
            Dispatcher(Surfaces([surface]), Receivers(threads)),
            threads,
            self.access_log,
            TrustedProxies(lambda address: False),
            limits or Limits(),
            lambda error: PlainEnvelope().error(error, None).body,
        )
        self.site.startFactory()
        self.addCleanup(self._stop)
        return self.site

    def connect(self) -> Client:
        """Open a connection."""
        return Client(self.site)

    def wait(self, seconds: float) -> None:
        """Let time pass, a second at a time."""
        for _ in range(int(seconds)):
            self.clock.advance(1)

    def access_lines(self) -> list[dict[str, Any]]:
        """What the access log has written."""
        self.access_log.flush()
        return [msgspec.json.decode(line) for line in b"".join(self.logged).splitlines()]

    def _stop(self) -> None:
        draining = Deferred.fromCoroutine(self.site.drain(0))
        for channel in list(self.site._channels):
            channel.connectionLost(Failure(ConnectionDone()))
        self.clock.advance(0)
        self.wait(5)
        self.successResultOf(draining)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def _remove(self) -> None:
        left = [file.name for file in self.folder.iterdir()]
        for file in self.folder.iterdir():
            file.unlink()
        self.folder.rmdir()
        self.assertEqual(left, [])


def head(method: str, path: str, *lines: str, version: str = "HTTP/1.1") -> bytes:
    """The head of a request for a path below `/api`."""
    return "\r\n".join([f"{method} {PREFIX}{path} {version}", "Host: box", *lines, "", ""]).encode("latin-1")


def post(path: str, body: bytes, content_type: str = "application/json", *lines: str) -> bytes:
    """A whole request with a body."""
    return head("POST", path, f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *lines) + body


def part(disposition: str, content: bytes) -> bytes:
    """One part of a form with the boundary `b`."""
    return f"--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"


FORM = "multipart/form-data; boundary=b"
END = b"--b--\r\n"
