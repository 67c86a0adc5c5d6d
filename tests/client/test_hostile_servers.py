"""What a server may send in place of what is expected: the commands tell it in a line, and break in no other way."""

import os
import pty
import subprocess
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from appliance.client import logs, shell, top
from appliance.client.connection import End, connect
from appliance.client.errors import ClientError
from appliance.client.log_progress import Progress
from appliance.client.login import log_in
from appliance.client.message import Message
from appliance.client.remote import remote
from appliance.secret import Secret
from tests.support.hostile import HostileServer, hostile_server
from tests.support.server import ROOT

reactor: Any = global_reactor

METRIC = b'{"type":"metric","metric":"%b","timestamp":"t","data":%b}'
GOOD_LOAD = METRIC % (b"load", b'{"load1":1,"load5":1,"load15":1}')
GOOD_ENTRY = b'"timestamp":"2025-08-01T10:30:05Z","level":"info","unit":"u","hostname":"h","pid":1'
GOOD_SESSION = b'{"type":"session","payload":{"session":"s","complete":true}}'


class Said:
    """A connection on which a server says this; it has no other end than our own."""

    def __init__(self, *messages: bytes) -> None:
        self._messages = deque(messages)
        self.end = End(1000, "")
        self.transport = self

    def __aiter__(self) -> "Said":
        return self

    async def __anext__(self) -> Message:
        if not self._messages:
            raise StopAsyncIteration
        return Message(self._messages.popleft())

    def send(self, *args: object, **fields: object) -> None:
        pass

    def registerProducer(self, *args: object) -> None:
        pass

    async def closed(self) -> None:
        self._messages.clear()


class Silent:
    """In the place of a terminal, a screen or an output."""

    size = (80, 24)
    colours = is_broken = False

    def show(self, *args: object) -> None:
        pass

    def write(self, *args: object) -> None:
        pass

    def enter(self, *args: object) -> None:
        pass

    def start(self) -> None:
        pass


class MessageTests(SynchronousTestCase):
    def refused(self, work: Callable[[Any], Awaitable[object]], *messages: bytes) -> None:
        for message in messages:
            told = self.failureResultOf(Deferred.fromCoroutine(work(Said(message))), ClientError)  # type: ignore[arg-type]
            self.assertRegex(str(told.value), "^The server (sends|refuses)|^7$", message)

    def test_figures(self) -> None:
        async def follow(connection: Any) -> None:
            silent: Any = Silent()
            await top._follow(connection, silent, 1)

        self.refused(
            follow,
            b'{"type":"metric"}',
            b'{"type":"metric","metric":7,"timestamp":"t","data":{}}',
            b'{"type":"metric","metric":"cpu","timestamp":1,"data":{}}',
            METRIC % (b"cpu", b"{}"),
            METRIC % (b"cpu", b"null"),
            METRIC % (b"cpu", b'{"usage_percent":"x","cores":[]}'),
            METRIC % (b"cpu", b'{"usage_percent":1e999,"cores":[]}'),
            METRIC % (b"cpu", b'{"usage_percent":1,"cores":7}'),
            METRIC % (b"cpu", b'{"usage_percent":1,"cores":[{}]}'),
            METRIC % (b"load", b'{"load1":1,"load5":1,"load15":%b}' % (b"9" * 400)),
            METRIC % (b"load", b'{"load1":1,"load5":1,"load15":%b}' % (b"[" * 100_000)),
            METRIC % (b"disk", b'{"disks":[{"mount_point":7}]}'),
            METRIC % (b"network", b'{"interfaces":{}}'),
            METRIC % (b"memory", b'{"total":-1}'),
            b'{"type":"error"}',
            b'{"type":"error","error":7}',
        )
        again: Any = Said(GOOD_LOAD, METRIC % (b"of a newer server", b"[]"))
        self.assertIn(
            "closed the connection", str(self.failureResultOf(Deferred.fromCoroutine(follow(again)), ClientError).value)
        )

    def test_entries_of_the_log(self) -> None:
        async def show(connection: Any) -> None:
            nobody: Any = None
            output: Any = Silent()
            progress = Progress({}, Clock().seconds)
            await logs._Reading(Clock(), nobody, progress, output, patient=False)._show(connection)

        self.refused(
            show,
            b'{"type":"data"}',
            b'{"type":"data","payload":null}',
            b'{"type":"data","payload":{%b}}' % GOOD_ENTRY,
            b'{"type":"data","payload":{%b,"message":["x"]}}' % GOOD_ENTRY,
            b'{"type":"data","payload":{%b,"message":"x"}}' % GOOD_ENTRY.replace(b":1", b':"1"'),
            b'{"type":"data","payload":{%b,"message":"x"}}' % GOOD_ENTRY.replace(b"2025", b"-2025"),
            b'{"type":"error","code":[]}',
            b'{"type":"error"}',
        )
        self.successResultOf(
            Deferred.fromCoroutine(show(Said(b'{"type":"data","payload":{%b,"message":"x"}}' % GOOD_ENTRY)))
        )

    def test_a_shell(self) -> None:
        def remote_shell() -> Any:
            nobody: Any = None
            terminal: Any = Silent()
            found: Any = shell._Remote(Clock(), nobody, terminal, None)
            found._keyboard = Silent()
            return found

        self.refused(
            lambda connection: remote_shell()._follow(connection),
            b'{"type":"session"}',
            b'{"type":"session","payload":[]}',
            b'{"type":"session","payload":{"session":7,"complete":true}}',
            b'{"type":"output","payload":{"data":"x"}}',
            b'{"type":"output","id":"x","payload":{"data":"x"}}',
            b'{"type":"output","id":1,"payload":{"data":7}}',
            b'{"type":"exit"}',
            b'{"type":"exit","payload":{"code":"0"}}',
            b'{"type":"exit","payload":{"code":256}}',
            b'{"type":"exit","payload":{"code":null,"signal":9}}',
            b'{"type":"error"}',
        )
        twice: Any = Said(GOOD_SESSION, GOOD_SESSION)
        told = self.failureResultOf(Deferred.fromCoroutine(remote_shell()._follow(twice)), ClientError)
        self.assertIn("in the middle of one", str(told.value))
        unknown: Any = Said(b'{"type":"exit","payload":{"signal":"SIGNOTHING"}}')
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(remote_shell()._follow(unknown))), 128)


class AnswerTests(TestCase):
    def setUp(self) -> None:
        folder = Path(self.mktemp())
        self.server = HostileServer(folder)
        self.addCleanup(self.server.close)
        self.remote = remote(self.server.url, self.server.certificate)

    async def refused(self, work: Callable[[], Awaitable[object]], *answers: bytes) -> None:
        for self.server.answer in answers:
            try:
                await work()
            except ClientError:
                continue
            self.fail(f"taken: {self.server.answer[:100]!r}")

    async def test_handshakes(self) -> None:
        await self.refused(
            lambda: connect(reactor, self.remote, "/ws/logs", Secret("t")),
            b"",
            b"\r\n\r\n",
            b"garbage\r\n\r\n",
            b"HTTP/1.1 \xff\r\n\r\n",
            b"HTTP/1.1 101 Switching\r\n\r\n",
            b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
            b"HTTP/1.1 301 Moved\r\nLocation: \xff\r\n\r\n",
            b"HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\n" + b"[" * 100_000,
            b'HTTP/1.1 403 No\r\n\r\n{"error":{"message":7}}',
            b"HTTP/1.1 503 No\r\n\r\n\xff",
        )

    async def test_log_ins(self) -> None:
        def answer(body: bytes, *headers: bytes) -> bytes:
            lines = (b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers)
            return b"\r\n".join((*lines, b"", body))

        await self.refused(
            lambda: log_in(reactor, self.remote, "u", Secret("p")),
            b"",
            b"garbage\r\n\r\n",
            b"HTTP/1.1 999999 \xff\r\n\r\n",
            answer(b""),
            answer(b"[" * 100_000),
            answer(b"\xff"),
            answer(b"{}"),
            answer(b'{"data":{"token":7}}'),
            answer(b'{"data":{"token":""}}'),
            answer('{"data":{"token":"tökén"}}'.encode()),
            answer(b'{"data":{"token":"a\\r\\nX: y"}}'),
            answer(b'{"data":{"token":"a\\n"}}'),
            answer(b"no gzip", b"Content-Encoding: gzip"),
        )
        self.server.answer = answer(b'{"data":{"token":"good"}}')
        token = await log_in(reactor, self.remote, "u", Secret("p"))
        self.assertEqual(token.reveal(), "good")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileServer]:
    with hostile_server(tmp_path_factory.mktemp("hostile")) as server:
        yield server


@pytest.mark.parametrize(
    ("command", "messages"),
    [
        ("top", (GOOD_LOAD, b'{"type":"metric","metric":"cpu"}')),
        ("logs", (b'{"type":"data","payload":{}}',)),
        ("shell", (GOOD_SESSION, b'{"type":"output"}')),
    ],
)
def test_a_command_tells_it_in_a_line(
    server: HostileServer, tmp_path: Path, command: str, messages: tuple[bytes, ...]
) -> None:
    server.messages = messages
    (tmp_path / "token").write_text("t")
    ours, theirs = pty.openpty()
    try:
        finished = subprocess.run(
            [
                *(sys.executable, "-m", "appliance.cli", command, server.url),
                *("--ca", str(server.certificate), "--token-file", str(tmp_path / "token")),
            ],
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            cwd=ROOT,
        )
    finally:
        os.close(theirs)
        os.close(ours)
    assert finished.returncode == 1
    assert finished.stderr.startswith("Error: The server sends a message that cannot be understood: ")
    assert finished.stderr.count("\n") == 1
