import json
import signal
import subprocess
import sys
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from appliance.host.containers.docker import executions
from appliance.host.containers.docker.executions import DockerExecutions
from appliance.host.containers.docker.hijack import Hijacked
from appliance.host.containers.errors import EngineAbsent, EngineError
from appliance.host.containers.model import ExecOptions
from appliance.host.errors import Conflict, Unknown
from appliance.process.terminal import Size
from appliance.threads import Threads
from tests.support.fake_engine import Connection, EngineTestCase, answer, reactor

TAKEN = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\n\r\n"
START = "POST /exec/e/start"


class HijackTests(EngineTestCase):
    def take_over(self) -> "Deferred[Hijacked]":
        return Deferred.fromCoroutine(self.client.hijack("/exec/e/start", {"Tty": True}))

    async def taken(self, said: bytes = TAKEN) -> tuple[Hijacked, Connection]:
        self.engine.said[START] = said
        hijacked = await self.take_over()
        return hijacked, self.engine.connections[-1]

    async def test_both_ways(self) -> None:
        hijacked, connection = await self.taken(TAKEN + b"at once")
        self.assertEqual(json.loads(self.engine.bodies[-1]), {"Tty": True})
        self.assertIn(b"\r\nUpgrade: tcp\r\n", self.engine.heads[-1])
        self.assertEqual(await hijacked.read(), b"at once")
        heard: list[bytes] = []
        connection.take = heard.append
        hijacked.write(b"typed")
        await self.until(lambda: heard == [b"typed"])
        connection.write(b"HTTP/1.1 is only words here\r\n\r\n")
        self.assertEqual(await hijacked.read(), b"HTTP/1.1 is only words here\r\n\r\n")
        connection.close()
        self.assertEqual(await hijacked.read(), b"")
        hijacked.write(b"to nobody")
        hijacked.close()

    async def test_an_engine_that_says_200(self) -> None:
        hijacked, connection = await self.taken(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.write(b"x")
        self.assertEqual(await hijacked.read(), b"x")
        hijacked.close()
        await self.until(lambda: connection.closed)

    async def test_refusals(self) -> None:
        for status, kind in ((404, Unknown), (409, Conflict), (500, EngineError)):
            self.engine.said[START] = answer(b'{"message":"Because."}', status)
            error = await self.failure(self.take_over())
            self.assertIs(type(error), kind)
            self.assertIn("Because.", str(error))
        self.engine.said[START] = b"HTTP/1.1 404 Not Found\r\n\r\n"
        self.assertIsInstance(await self.failure(self.take_over()), Unknown)
        await self.until(lambda: all(connection.closed for connection in self.engine.connections[1:]))

    async def test_what_is_no_answer(self) -> None:
        def hang_up(connection: Connection) -> None:
            connection.close()

        for said in (hang_up, b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 101 OK\r\nX: " + b"x" * 20_000):
            self.engine.said[START] = said
            self.assertIs(type(await self.failure(self.take_over())), EngineError)
        await self.until(lambda: all(connection.closed for connection in self.engine.connections[1:]))

    async def test_no_engine(self) -> None:
        await self.engine.stop()
        self.assertIsInstance(await self.failure(self.take_over()), EngineAbsent)

    async def test_input_that_is_not_taken_waits(self) -> None:
        hijacked, connection = await self.taken()
        connection.transport.pauseProducing()
        await hijacked.writable()
        for _ in range(40):
            hijacked.write(b"x" * 0x10000)
        waiting = Deferred.fromCoroutine(hijacked.writable())
        self.assertNoResult(waiting)
        connection.take = lambda data: None
        connection.transport.resumeProducing()
        await waiting
        hijacked.close()

    async def test_who_waits_for_a_program_is_let_go_when_it_ends(self) -> None:
        hijacked, connection = await self.taken()
        connection.transport.pauseProducing()
        for _ in range(40):
            hijacked.write(b"x" * 0x10000)
        writing, reading = Deferred.fromCoroutine(hijacked.writable()), Deferred.fromCoroutine(hijacked.read())
        hijacked.close()
        await writing
        self.assertEqual(await reading, b"")

    async def test_output_that_is_not_read_holds_the_engine_back(self) -> None:
        hijacked, connection = await self.taken()
        for _ in range(100):
            connection.write(b"x" * 0x10000)
        await self.until(lambda: hijacked._paused)
        self.assertLess(hijacked._size, 1 << 18)
        size = 0
        while size < 100 * 0x10000:
            size += len(await hijacked.read())
        hijacked.close()

    def assertNoResult(self, waiting: "Deferred[None]") -> None:
        self.assertFalse(waiting.called)


class ExecutionTests(EngineTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.executions = DockerExecutions(reactor, self.client, Threads(reactor))
        self.engine.said["POST /containers/box/exec"] = answer(b'{"Id":"e"}', 201)
        self.engine.said[START] = TAKEN
        self.resizes = 0

    async def test_a_terminal_gets_its_size_as_soon_as_it_is_there(self) -> None:
        def resize(connection: Connection) -> None:
            self.resizes += 1
            connection.write(answer(b'{"message":"not yet"}', 500) if self.resizes < 3 else answer())

        self.engine.said["POST /exec/e/resize"] = resize
        self.engine.said["GET /exec/e/json"] = answer(b'{"ID":"e","Running":false,"ExitCode":3,"Pid":0}')
        execution = await self.executions.run("box", ExecOptions(["/bin/sh", "-c", "x"], Size(30, 100), "nobody"))
        await self.heard("POST /v1.41/exec/e/resize?h=30&w=100")
        await self.until(lambda: self.resizes == 3)
        made = json.loads(self.engine.bodies[1])
        self.assertEqual((made["Cmd"], made["Tty"], made["User"]), (["/bin/sh", "-c", "x"], True, "nobody"))
        self.engine.connections[2].close()
        self.assertEqual(await execution.read(), b"")
        self.assertEqual(await execution.exit_code(), 3)
        execution.close()
        await self.executions.stop()
        self.assertEqual(self.engine.heard[-1], "GET /v1.41/exec/e/json")

    async def test_a_program_that_cannot_be_ended_here_is_left(self) -> None:
        """Its number is that of a process of ours, which is in no container."""
        self.engine.said["POST /exec/e/resize"] = answer()
        said = {"ID": "e", "Running": True, "ExitCode": None, "Pid": 1, "ContainerID": "c" * 64}
        self.engine.said["GET /exec/e/json"] = answer(json.dumps(said).encode())
        execution = await self.executions.run("box", ExecOptions(["/bin/sh"], Size(24, 80)))
        await self.until(lambda: any("resize" in each for each in self.engine.heard))
        execution.close()
        await self.executions.stop()
        self.assertEqual(self.engine.heard[-1], "GET /v1.41/exec/e/json")

    async def test_a_program_that_ignores_the_end_is_killed_though_the_engine_fails_at_first(self) -> None:
        script = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); print(flush=True); signal.pause()"
        argv = [sys.executable, "-c", script]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as stubborn:
            assert stubborn.stdout is not None
            await deferToThread(stubborn.stdout.readline)
            # A control group of ours stands for a container's.
            group = Path(f"/proc/{stubborn.pid}/cgroup").read_text().splitlines()[0]
            said = {"ID": "e", "Running": True, "ExitCode": None, "Pid": stubborn.pid, "ContainerID": group}
            self.tells = 0

            def tell(connection: Connection) -> None:
                self.tells += 1
                body = json.dumps(said).encode()
                connection.write(answer(body) if self.tells > 1 else answer(b'{"message":"busy"}', 500))

            self.patch(executions, "HANG_UP_SECONDS", 0.2)
            self.engine.said["POST /exec/e/resize"] = answer()
            self.engine.said["GET /exec/e/json"] = tell
            execution = await self.executions.run("box", ExecOptions(["/bin/sh"], Size(24, 80)))
            execution.close()
            await self.executions.stop()
            self.assertEqual(stubborn.wait(), -signal.SIGKILL)
        self.assertEqual(self.tells, 2)
