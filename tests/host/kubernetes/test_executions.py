"""Programs in pods of a cluster that the test plays: the WebSocket, and what is answered instead of one."""

import json
import os
import pty
import socket
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny
from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from appliance.host.containers.model import ExecOptions
from appliance.host.errors import Conflict, Forbidden, Invalid, Unknown
from appliance.host.kubernetes.errors import ClusterAbsent, ClusterError, Rejected
from appliance.host.kubernetes.executions import ClusterExecutions, PodContainer
from appliance.host.kubernetes.server_url import ServerUrl
from appliance.host.kubernetes.target import Target
from appliance.host.remote_programs import executions as executions_module
from appliance.host.remote_programs.executions import RemoteExecution
from appliance.host.remote_programs.hang_up import TYPED, Mark
from appliance.host.remote_programs.socket import HELD, PIECE, V4, V5
from appliance.process.terminal import Size
from appliance.threads import Threads
from tests.support.listening import ListeningTestCase, reactor
from tests.support.processes import alive, wait_for
from tests.support.websocket import forget_timers

BOX = PodContainer("shop", "box", "main")
SHELL = ExecOptions(["/bin/sh"], Size(31, 101))
SUCCESS = b'\x03{"metadata":{},"status":"Success"}'


def failure(reason: str, message: str, *causes: tuple[str, str]) -> bytes:
    """A Status at the end of a program that failed."""
    details = {"causes": [{"reason": kind, "message": text} for kind, text in causes]}
    return (
        b"\x03" + json.dumps({"status": "Failure", "reason": reason, "message": message, "details": details}).encode()
    )


class Node(WebSocketServerProtocol):
    """One program: keeps what it hears. A helper without a terminal ends at once, with `factory.helper`."""

    factory: "Nodes"
    transport: Any

    def onConnect(self, request: Any) -> Any:
        self.request = request
        self.heard: list[bytes] = []
        self.close_code: int | None = None
        common = [each for each in request.protocols if each in self.factory.speaks]
        if not common:
            raise ConnectionDeny(403)
        return common[0]

    def onOpen(self) -> None:
        for channel in (b"\x01", b"\x03"):
            self.say(channel)  # as nodes begin
        if self.query["tty"] == ["false"]:
            self.factory.helpers.append(self)
            self.say(self.factory.helper)
            self.sendClose(1000)
        else:
            self.factory.programs.append(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        assert isBinary
        self.heard.append(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.close_code = code

    def say(self, message: bytes) -> None:
        self.sendMessage(message, isBinary=True)

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.http_request_uri).query, keep_blank_values=True)

    @property
    def typed(self) -> bytes:
        return b"".join(message[1:] for message in self.heard if message[0] == 0)


class Nodes(WebSocketServerFactory):
    """The API server."""

    def __init__(self) -> None:
        super().__init__(reactor=reactor, server="")
        self.protocol = Node
        self.speaks = [V4]
        self.helper = SUCCESS
        self.programs: list[Node] = []
        self.helpers: list[Node] = []
        self.setProtocolOptions(maxMessagePayloadSize=0, autoPingInterval=0)


class Saying(Protocol):
    """Answers all with the same bytes."""

    def __init__(self, said: bytes, closes: bool) -> None:
        self._said = said
        self._closes = closes

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(self._said)
        if self._closes:
            self.transport.loseConnection()


class Says(Factory[Saying]):
    def __init__(self, said: bytes, closes: bool) -> None:
        self._said = said
        self._closes = closes

    def buildProtocol(self, addr: object) -> Saying:
        return Saying(self._said, self._closes)


def is_full(execution: RemoteExecution) -> bool:
    return execution._socket._is_full


class Client:
    """Knows where the cluster is."""

    def __init__(self, port: int) -> None:
        headers = (("Authorization", "Bearer t"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b"))
        self._target = Target(ServerUrl("127.0.0.1", port, "/prefix", False), "main", headers, None)

    async def target(self) -> Target:
        return self._target


class ExecutionTests(ListeningTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.forget_timers)
        self.nodes = Nodes()
        self.executions = self.made(self.listen(self.nodes))

    async def tearDown(self) -> None:  # type: ignore[override]  # trial waits for it
        await self.executions.stop()
        await self.until(lambda: not any(isinstance(each, tcp.Client) for each in reactor.getReaders()))

    async def forget_timers(self) -> None:
        await self.until(iter([False, False, True]).__next__)  # connections that were aborted are lost a turn later
        forget_timers()

    def made(self, port: int) -> ClusterExecutions:
        client: Any = Client(port)
        return ClusterExecutions(reactor, client, Threads(reactor))

    async def begun(self, options: ExecOptions = SHELL) -> tuple[RemoteExecution, Node]:
        count = len(self.nodes.programs)
        execution = await self.executions.run(BOX, options)
        await self.until(lambda: len(self.nodes.programs) > count)
        return execution, self.nodes.programs[-1]

    async def test_both_ways(self) -> None:
        execution, node = await self.begun()
        self.assertEqual(urlsplit(node.http_request_uri).path, "/prefix/api/v1/namespaces/shop/pods/box/exec")
        self.assertEqual(node.query["container"], ["main"])
        self.assertEqual((node.query["stdin"], node.query["stdout"], node.query["tty"]), (["true"],) * 3)
        self.assertEqual(node.query["command"][-1], "/bin/sh")
        self.assertEqual(node.http_headers["authorization"], "Bearer t")
        self.assertEqual(node.http_headers["impersonate-group"], "a, b")
        node.say(b"\x01h\xc3")
        self.assertEqual(await execution.read(), b"h\xc3")
        node.say(b"\x01\xbc")
        node.say(b"\x02!")
        await self.until(lambda: execution._socket._size >= 4)
        self.assertEqual(await execution.read(), b"\xbc!")
        execution.write(b"typed")
        await execution.writable()
        await execution.resize(Size(21, 51))
        await self.until(lambda: len(node.heard) == 3)
        sizes = [json.loads(message[1:]) for message in node.heard if message[0] == 4]
        self.assertEqual(sizes, [{"Width": 101, "Height": 31}, {"Width": 51, "Height": 21}])
        self.assertEqual(node.typed, b"typed")
        node.say(b"\x01last")
        node.say(SUCCESS)
        self.assertEqual(await execution.read(), b"last")
        self.assertEqual(await execution.read(), b"")
        self.assertEqual(await execution.exit_code(), 0)
        execution.write(b"to nobody")
        execution.close()
        await self.until(lambda: node.close_code == 1000)
        self.assertEqual(self.nodes.helpers, [])

    async def test_how_programs_end(self) -> None:
        for said, code in (
            (failure("NonZeroExitCode", "exit code 7", ("ExitCode", "7")), 7),
            (failure("NonZeroExitCode", "killed", ("Other", "x"), ("ExitCode", "137")), 137),
            (failure("InternalError", 'exec: "/x": stat /x: no such file or directory: unknown'), Invalid),
            (failure("InternalError", "the node is on fire"), ClusterError),
            (failure("NonZeroExitCode", "odd", ("ExitCode", "²")), ClusterError),
            (failure("NonZeroExitCode", "huge", ("ExitCode", "1" * 5000)), ClusterError),
        ):
            execution, node = await self.begun()
            node.say(said)
            self.assertEqual(await execution.read(), b"")
            if isinstance(code, int):
                self.assertEqual(await execution.exit_code(), code)
            else:
                error = await self.assertFailure(Deferred.fromCoroutine(execution.exit_code()), code)
                self.assertIn(json.loads(said[1:])["message"][:10], str(error))
            execution.close()

    async def test_a_connection_that_breaks(self) -> None:
        execution, node = await self.begun()
        node.say(b"\x01x")
        self.assertEqual(await execution.read(), b"x")
        node.transport.abortConnection()
        await self.assertFailure(Deferred.fromCoroutine(execution.read()), ClusterError)
        self.assertIsNone(await execution.exit_code())
        execution.close()
        await self.until(lambda: self.nodes.helpers)

    async def test_what_is_no_status_and_what_is_no_message(self) -> None:
        for said in (b"\x03<html>", b"\x01" + b"x" * (2 << 20), b'\x03{"x":' + b"[" * 5000):
            execution, node = await self.begun()
            node.say(said)
            await self.assertFailure(Deferred.fromCoroutine(execution.read()), ClusterError)
            execution.close()

    async def test_a_slow_reader_holds_the_node_back(self) -> None:
        execution, node = await self.begun()
        for _ in range(2000):
            node.say(b"\x01" + b"x" * 4095)
        await self.until(lambda: execution._socket._is_paused)
        self.assertLess(execution._socket._size + len(execution._socket._unread), 2 * HELD + 64 * 1024)
        node.say(SUCCESS)
        size = 0
        while data := await execution.read():
            size += len(data)
        self.assertEqual(size, 2000 * 4095)
        execution.close()

    async def test_a_program_that_does_not_read_holds_the_typist_back(self) -> None:
        execution, node = await self.begun()
        node.transport.pauseProducing()
        sent = 0
        while not is_full(execution):
            execution.write(b"x" * (PIECE + 1))
            sent += PIECE + 1
        waiting = Deferred.fromCoroutine(execution.writable())
        self.assertFalse(waiting.called)
        node.transport.resumeProducing()
        await waiting
        await self.until(lambda: len(node.typed) == sent)
        self.assertLessEqual(max(map(len, node.heard)), PIECE + 1)
        node.transport.pauseProducing()
        while not is_full(execution):
            execution.write(b"x" * PIECE)
        waiting = Deferred.fromCoroutine(execution.writable())
        execution.close()
        await waiting
        node.transport.resumeProducing()
        await self.until(lambda: node.close_code is not None)

    async def test_tiny_messages(self) -> None:
        execution, node = await self.begun()
        frame = b"\x82\x02\x01x"
        node.transport.write(frame * 100_000)
        node.say(SUCCESS)
        size = 0
        while data := await execution.read():
            size += len(data)
        self.assertEqual(size, 100_000)
        execution.close()

    async def test_input_is_ended_where_the_node_knows_how(self) -> None:
        self.nodes.speaks = [V5, V4]
        execution, node = await self.begun()
        self.assertEqual(node.websocket_protocol_in_use, V5)
        execution.close()
        await self.until(lambda: node.close_code == 1000)
        self.assertEqual(node.heard[-1], b"\xff\x00")

    async def test_who_leaves_hangs_up(self) -> None:
        execution, node = await self.begun(ExecOptions(["/bin/cat", "a b"], Size(1, 1)))
        (asked,) = self.nodes.helpers
        self.assertEqual((asked.query["stdin"], asked.query["tty"]), (["false"], ["false"]))
        self.assertEqual(node.query["command"][-2:], ["/bin/cat", "a b"])
        mark = node.query["command"][-3]
        self.assertEqual(len(mark), 32)
        execution.close()
        await self.until(lambda: len(self.nodes.helpers) == 2)
        self.assertEqual(self.nodes.helpers[1].query["command"][-1], mark)
        self.assertEqual(node.typed, b"")

    async def test_where_there_is_no_shell_what_ends_programs_is_typed(self) -> None:
        self.nodes.helper = failure("InternalError", "no such file or directory")
        execution, node = await self.begun(ExecOptions(["/app"], Size(1, 1)))
        self.assertEqual(node.query["command"], ["/app"])
        execution.close()
        await self.until(lambda: node.close_code == 1000)
        self.assertEqual(node.typed, TYPED)
        self.assertEqual(len(self.nodes.helpers), 1)

    async def test_refusals(self) -> None:
        def status(code: int, message: str, *, chunked: bool = False) -> bytes:
            body = json.dumps({"kind": "Status", "message": message}).encode()
            if chunked:
                body = b"%x;x=y\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (5, body[:5], len(body) - 5, body[5:])
                head = "Transfer-Encoding: chunked"
            else:
                head = f"Content-Length: {len(body)}"
            return f"HTTP/1.1 {code} Because\r\n{head}\r\n\r\n".encode() + body

        host = "pod box does not have a host assigned"
        cases: list[tuple[bytes, bool, type[Exception], str]] = [
            (status(403, "User is forbidden"), False, Forbidden, "User is forbidden"),
            (status(403, "User is forbidden", chunked=True), False, Forbidden, "User is forbidden"),
            (status(404, 'pods "box" not found'), False, Unknown, 'pods "box" not found'),
            (status(400, "container x is not valid"), False, Rejected, "container x is not valid"),
            (status(400, host), False, Conflict, host),
            (b'HTTP/1.1 500 No\r\n\r\ncontainer not found ("main")', True, Conflict, 'container not found ("main")'),
            (status(401, "Unauthorized"), False, ClusterError, "context main"),
            (status(500, "on fire"), False, ClusterError, "on fire"),
            (b"HTTP/1.1 101 Switching\r\nUpgrade: other\r\n\r\n", False, ClusterError, "Upgrade"),
            (b"SSH-2.0-x\r\n\r\n", False, ClusterError, "no HTTP"),
            (b"x" * 100_000, False, ClusterError, "no HTTP"),
            (b"HTTP/1.1 1", True, ClusterError, "broke"),
            (b"", True, ClusterError, "broke"),
        ]
        for said, closes, kind, words in cases:
            executions = self.made(self.listen(Says(said, closes)))
            error = await self.failure(executions.run(BOX, SHELL))
            self.assertIs(type(error), kind, (said[:40], error))
            self.assertIn(words, str(error))

    async def test_a_server_that_knows_none_of_our_protocols(self) -> None:
        self.nodes.speaks = ["other"]
        self.assertIsInstance(await self.failure(self.executions.run(BOX, SHELL)), Forbidden)

    async def test_nobody_answers(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            executions = self.made(server.getsockname()[1])
        self.assertIsInstance(await self.failure(executions.run(BOX, SHELL)), ClusterAbsent)

    async def test_a_server_that_is_silent(self) -> None:
        self.patch(executions_module, "OPEN_SECONDS", 0.05)
        executions = self.made(self.listen(Factory.forProtocol(Protocol)))
        self.assertIn("did not answer", str(await self.failure(executions.run(BOX, SHELL))))

    async def test_what_cannot_be_asked_for(self) -> None:
        for options, field in (
            (ExecOptions(["/bin/sh"], Size(1, 1), "root"), "user"),
            (ExecOptions(["/bin/sh", "x" * 40_000], Size(1, 1)), "command"),
        ):
            error = await self.failure(self.executions.run(BOX, options))
            assert isinstance(error, Invalid)
            self.assertEqual(error.field, field)
        self.assertEqual(self.nodes.programs, [])

    async def failure(self, coroutine: Any) -> Exception:
        try:
            await coroutine
        except Exception as error:
            return error
        raise AssertionError("it did not fail")


def test_who_bears_a_mark_is_hung_up_with_all_children(tmp_path: Path) -> None:
    """The two commands that go to a shell in a pod, run here; the seconds between its looks are shorter."""
    quick = tmp_path / "sleep"
    quick.write_text("#!/bin/sh\nexec /bin/sleep 0.1\n")
    quick.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    mark = Mark()
    both = "/bin/sleep 54321 & echo $!; trap '' HUP; env -i /bin/sleep 54321 & echo $!; /bin/sleep 54321"
    programs, masters = [], []
    for argv in (mark.put_on(["/bin/sh", "-c", both]), Mark().put_on(["/bin/sleep", "54321"])):
        master, slave = pty.openpty()
        programs.append(subprocess.Popen(["setsid", "--ctty", *argv], stdin=slave, stdout=slave))
        masters.append(master)
        os.close(slave)
    try:
        with os.fdopen(os.dup(masters[0])) as output:
            children = [int(output.readline()) for _ in range(2)]
        assert subprocess.run(mark.hang_up(), env=environment, check=False).returncode == 0
        assert programs[0].wait(10) == -9
        wait_for(lambda: not any(alive(pid) for pid in children), "the end of the children")
        assert programs[1].poll() is None
        assert subprocess.run(mark.hang_up(), env=environment, check=False).returncode == 0
    finally:
        for each in programs:
            each.kill()
            each.wait(10)
        for master in masters:
            os.close(master)


def test_a_program_gets_its_arguments_and_a_terminal_s_name() -> None:
    argv = Mark().put_on(["/bin/sh", "-c", 'echo "$TERM" "$@"', "a", "b  c", "$d"])
    assert subprocess.run(argv, capture_output=True, check=True, text=True).stdout == "xterm-256color b  c $d\n"
