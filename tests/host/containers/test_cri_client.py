"""Runtimes asked by CRI, by what they answer, refuse, or fail to do."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from appliance.host.containers.cri import runtime as runtime_module
from appliance.host.containers.cri.client import CriClient
from appliance.host.containers.cri.log import CriLog
from appliance.host.containers.cri.runtime import CriRuntime
from appliance.host.containers.errors import RuntimeAbsent, RuntimeFailed, RuntimeUnusable
from appliance.host.containers.model import ContainerImage, ExecOptions, LogOptions, Mount
from appliance.host.errors import Conflict, HostError, Invalid, Unknown
from appliance.process.reactor import sleep
from appliance.process.terminal import Size
from appliance.threads import Threads
from tests.support.fake_cri import FakeRuntime

reactor: Any = global_reactor
ID = "ab" + "0" * 62
RUNNING, EXITED = 1, 2
DEEP = '{"x":' + "[" * 5000


FORKS = """
import os, sys
from pathlib import Path
from appliance.host.containers.cri.client import CriClient

class Reactor:
    callFromThread = staticmethod(lambda function, *arguments: function(*arguments))

CriClient(None, None, [Path("/")])
from appliance.host.containers.cri.connection import Connection
connection = Connection(Reactor(), Path(sys.argv[1]))
ends = set()
for _ in range(40):
    asking = connection.call("Version", 10, {})
    child = os.fork()
    if not child:
        os._exit(7)
    ends.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(*ends)
"""
"""A process that forks while it asks, as the server does for a terminal."""


class CriCase(TestCase):
    def setUp(self) -> None:
        self.fake = FakeRuntime()
        self.addCleanup(self.fake.close)
        self.fake.start()
        self.threads = Threads(reactor)
        self.client = CriClient(reactor, self.threads, [Path("/nonexistent/cri.sock"), self.fake.socket])
        self.addCleanup(self.client.close)

    async def failure(self, awaitable: Any) -> HostError:
        try:
            await awaitable
        except HostError as error:
            return error
        raise AssertionError("nothing was raised")


class ClientTests(CriCase):
    async def test_the_name(self) -> None:
        self.assertEqual(await self.client.name(), "cri-o")
        self.fake.answers["Version"] = lambda *_: {}
        self.assertEqual(await self.client.name(), str(self.fake.socket))

    async def test_refusals(self) -> None:
        code: grpc.StatusCode

        def refuse(_: Any, context: Any) -> Any:
            context.abort(code, f"said\nby {code.name}")

        self.fake.answers["ListImages"] = refuse
        for code, kind in (
            (grpc.StatusCode.NOT_FOUND, Unknown),
            (grpc.StatusCode.FAILED_PRECONDITION, Conflict),
            (grpc.StatusCode.ALREADY_EXISTS, Conflict),
            (grpc.StatusCode.INVALID_ARGUMENT, Invalid),
            (grpc.StatusCode.UNKNOWN, RuntimeFailed),
            (grpc.StatusCode.INTERNAL, RuntimeFailed),
            (grpc.StatusCode.PERMISSION_DENIED, RuntimeFailed),
        ):
            error = await self.failure(self.client.call("ListImages"))
            self.assertIs(type(error), kind)
            self.assertIn(f"said by {code.name}", str(error))

    async def test_one_that_is_no_cri(self) -> None:
        """As the containerd of Docker's packages, or one before 1.6."""
        self.fake.answers.clear()
        error = await self.failure(self.client.name())
        self.assertIsInstance(error, RuntimeUnusable)
        self.assertIn("disabled_plugins", str(error))

    async def test_one_that_does_not_answer(self) -> None:
        release = threading.Event()
        self.addCleanup(release.set)

        def wait(*_: Any) -> Any:
            release.wait(30)
            return {}

        self.fake.answers["ListImages"] = wait
        error = await self.failure(self.client.call("ListImages", 0.1))
        self.assertIs(type(error), RuntimeFailed)
        self.assertIn("did not answer within 0 seconds", str(error))

    async def test_one_that_asks_no_more_ends_the_call(self) -> None:
        begun, ended = threading.Event(), threading.Event()

        def wait(_: Any, context: Any) -> Any:
            context.add_callback(ended.set)
            begun.set()
            ended.wait(30)
            return {}

        self.fake.answers["ListImages"] = wait
        asking: Deferred[Any] = Deferred.fromCoroutine(self.client.call("ListImages"))
        self.assertTrue(await self.threads.run(begun.wait, 30))
        asking.cancel()
        with self.assertRaises(CancelledError):
            await asking
        self.assertTrue(await self.threads.run(ended.wait, 30))

    async def test_one_that_goes_in_the_middle(self) -> None:
        begun = threading.Event()

        def wait(_: Any, context: Any) -> Any:
            ended = threading.Event()
            context.add_callback(ended.set)
            begun.set()
            ended.wait(30)
            return {}

        self.fake.answers["ListImages"] = wait
        asking: Deferred[Any] = Deferred.fromCoroutine(self.client.call("ListImages"))
        self.assertTrue(await self.threads.run(begun.wait, 30))
        await self.threads.run(self.fake.stop)
        error = await self.failure(asking)
        self.assertIs(type(error), RuntimeFailed)
        self.assertIn("may have been done", str(error))
        self.assertIsInstance(await self.failure(self.client.name()), RuntimeAbsent)
        self.fake.start()
        self.assertEqual(await self.client.name(), "cri-o")

    async def test_none(self) -> None:
        nobody = CriClient(reactor, self.threads, [Path("/nonexistent/cri.sock"), Path("/etc/passwd")])
        error = await self.failure(nobody.name())
        self.assertIs(type(error), RuntimeAbsent)
        self.assertIsInstance(await self.failure(nobody.call("ListImages")), RuntimeAbsent)

    async def test_a_long_answer(self) -> None:
        """Longer than gRPC takes by itself."""
        many = [{"id": f"{number:064x}", "repo_tags": ["x" * 400]} for number in range(12_000)]
        self.fake.answers["ListImages"] = lambda *_: {"images": many}
        self.assertEqual(len((await self.client.call("ListImages")).images), 12_000)

    async def test_after_the_end(self) -> None:
        await self.client.name()
        self.client.close()
        self.assertIsInstance(await self.failure(self.client.name()), RuntimeAbsent)

    async def test_a_fork_at_any_moment(self) -> None:
        argv = [sys.executable, "-c", FORKS, str(self.fake.socket)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
        run = partial(subprocess.run, argv, env=environment, capture_output=True, text=True, timeout=60, check=True)
        finished = await self.threads.run(run)
        self.assertEqual((finished.stdout, finished.stderr), ("7\n", ""))

    async def test_two_that_ask_first(self) -> None:
        asking = [Deferred.fromCoroutine(self.client.name()) for _ in range(2)]
        self.assertEqual([await each for each in asking], ["cri-o", "cri-o"])


class RuntimeTests(CriCase):
    """What is CRI-O's own, by its sources: the runtime's name, the form of what it tells beside the interface."""

    def setUp(self) -> None:
        super().setUp()
        self.runtime = CriRuntime(reactor, self.threads, [self.fake.socket])
        self.addCleanup(lambda: Deferred.fromCoroutine(self.runtime.end()))
        self.status: dict[str, object] = {"id": ID, "metadata": {"name": "c"}, "state": RUNNING}
        self.info: dict[str, str] = {}
        self.fake.answers["ContainerStatus"] = lambda *_: {"status": self.status, "info": self.info}

    async def test_one_of_cri_o(self) -> None:
        specification = '{"ociVersion":"1.0.2","process":{"args":["sh"],"env":["A=b"],"cwd":"/x"},"mounts":[]}'
        self.info = {"info": f'{{"sandboxID":"s","pid":7,"runtimeSpec":{specification},"privileged":false}}'}
        self.status |= {
            "image": {"image": "sha256:1", "user_specified_image": "registry/a:1"},
            "image_ref": "registry/a@sha256:2",
            "image_id": "3",
            "created_at": 1_700_000_000_000_000_001,
            "state": EXITED,
            "exit_code": 137,
            "reason": "OOMKilled",
            "message": "too much",
            "mounts": [{"host_path": "/a", "container_path": "/b"}],
        }
        found = await self.runtime.container(ID)
        self.assertEqual((found.runtime, found.image, found.image_id), ("cri-o", "registry/a:1", "3"))
        self.assertEqual((found.pid, found.command, found.env, found.working_dir), (7, ["sh"], ["A=b"], "/x"))
        self.assertEqual((found.state, found.exit_code), ("CONTAINER_EXITED", 137))
        self.assertEqual(found.reason, "OOMKilled: too much")
        self.assertEqual((found.created_at, found.started_at), ("2023-11-14T22:13:20.000000001Z", ""))
        self.assertEqual(found.mounts, [Mount("/a", "/b", False)])

    async def test_what_is_told_beside_the_interface_need_not_be_there(self) -> None:
        for info in (
            {},
            {"info": "none"},
            {"info": "{}"},
            {"info": '{"pid":"x"}'},
            {"info": DEEP},
            {"other": "{}"},
        ):
            self.info = info
            found = await self.runtime.container(ID)
            self.assertEqual((found.pid, found.command, found.env), (0, [], []))

    async def test_a_state_that_is_not_known_yet(self) -> None:
        self.status["state"] = 9
        self.assertEqual((await self.runtime.container(ID)).state, "CONTAINER_UNKNOWN")

    async def test_images(self) -> None:
        image = {"id": "1", "repo_tags": ["a:1"], "repo_digests": ["a@sha256:2"], "size": 1 << 40}
        self.fake.answers["ListImages"] = lambda *_: {"images": [image]}
        self.assertEqual(await self.runtime.images(), [ContainerImage("1", ["a:1"], ["a@sha256:2"], 1 << 40)])

    async def test_what_cannot_be_an_id_is_not_asked_for(self) -> None:
        for id in ("", "-x", "a b", "../x", "x" * 300):
            self.assertIsInstance(await self.failure(self.runtime.container(id)), Invalid)
        self.assertNotIn("ContainerStatus", self.fake.asked)

    async def test_one_that_runs_is_not_removed(self) -> None:
        self.assertIsInstance(await self.failure(self.runtime.remove(ID, force=False)), Conflict)
        self.assertNotIn("RemoveContainer", self.fake.asked)

    async def test_the_patience_of_a_stop(self) -> None:
        given = []

        def stop(request: Any, _: Any) -> Any:
            given.append(request.timeout)
            return {}

        self.fake.answers["StopContainer"] = stop
        await self.runtime.stop(ID, None)
        await self.runtime.stop(ID, 0)
        self.assertEqual(given, [10, 0])


class LogTests(CriCase):
    """Logs that are read on, by what ends that."""

    def setUp(self) -> None:
        super().setUp()
        self.runtime = CriRuntime(reactor, self.threads, [self.fake.socket])
        self.addCleanup(lambda: Deferred.fromCoroutine(self.runtime.end()))
        self.path = Path(self.mktemp()).absolute()
        self.path.write_bytes(b"2026-01-02T03:04:05Z stdout F one\n")
        self.state = RUNNING
        self.fake.answers["ContainerStatus"] = lambda *_: {
            "status": {"id": ID, "state": self.state, "log_path": str(self.path)}
        }

    async def follow(self, **options: Any) -> CriLog:
        log = await self.runtime.log(ID, LogOptions(follow=True, **options))
        self.assertEqual(await log.read(), b"one\n")
        return log

    async def test_its_container_ends(self) -> None:
        log = await self.follow()
        self.state = EXITED
        self.assertEqual(await log.read(), b"")
        log.close()

    async def test_its_container_is_removed(self) -> None:
        log = await self.follow()
        self.fake.answers["ContainerStatus"] = lambda _, context: context.abort(grpc.StatusCode.NOT_FOUND, "gone")
        self.assertEqual(await log.read(), b"")
        log.close()

    async def test_its_time_ends(self) -> None:
        log = await self.follow(until=reactor.seconds())
        self.assertEqual(await log.read(), b"")
        log.close()

    async def test_its_reader_goes(self) -> None:
        log = await self.follow()
        reading: Deferred[bytes] = Deferred.fromCoroutine(log.read())
        log.close()
        self.assertEqual(await reading, b"")
        self.assertEqual(await log.read(), b"")

    async def test_its_reader_is_cancelled(self) -> None:
        log = await self.follow()
        reading: Deferred[bytes] = Deferred.fromCoroutine(log.read())
        reading.cancel()
        with self.assertRaises(CancelledError):
            await reading
        log.close()

    async def test_its_runtime_stops(self) -> None:
        """Containers run on without it, and so does the log."""
        log = await self.follow()
        await self.threads.run(self.fake.stop)
        reading: Deferred[bytes] = Deferred.fromCoroutine(log.read())
        await sleep(reactor, 1.5)
        with self.path.open("ab") as file:
            file.write(b"2026-01-02T03:04:06Z stderr F two\n")
        self.assertEqual(await reading, b"two\n")
        log.close()
        self.fake.start()

    async def test_its_runtime_hangs(self) -> None:
        self.patch(runtime_module, "_LOOK_SECONDS", 0.1)
        release = threading.Event()
        self.addCleanup(release.set)
        log = await self.follow()
        self.fake.answers["ContainerStatus"] = lambda *_: {"info": {"waited": str(release.wait(30))}}
        reading: Deferred[bytes] = Deferred.fromCoroutine(log.read())
        await sleep(reactor, 1.5)
        self.assertFalse(reading.called)
        with self.path.open("ab") as file:
            file.write(b"2026-01-02T03:04:06Z stderr F two\n")
        self.assertEqual(await reading, b"two\n")
        log.close()

    async def test_what_is_no_log_is_let_go_of(self) -> None:
        self.path.unlink()
        os.mkfifo(self.path)
        error = await self.failure(self.runtime.log(ID, LogOptions()))
        self.assertIs(type(error), RuntimeFailed)
        opened = [os.path.realpath(each.path) for each in os.scandir("/proc/self/fd")]
        self.assertNotIn(str(self.path), opened)


class ExecutionTests(CriCase):
    """Programs whose streams are not to be had."""

    def setUp(self) -> None:
        super().setUp()
        self.runtime = CriRuntime(reactor, self.threads, [self.fake.socket])
        self.addCleanup(lambda: Deferred.fromCoroutine(self.runtime.end()))
        self.fake.answers["ContainerStatus"] = lambda *_: {"status": {"id": ID, "state": RUNNING}}

    async def refused(self, url: str) -> str:
        self.fake.answers["Exec"] = lambda *_: {"url": url}
        error = await self.failure(self.runtime.execute(ID, ExecOptions(["/bin/sh"], Size(24, 80))))
        self.assertIs(type(error), RuntimeFailed)
        return str(error)

    async def test_what_is_no_address(self) -> None:
        for url in (
            "",
            "/exec/x",
            "https://127.0.0.1:1/exec/x",
            "http:///x",
            "http://[x/y",
            "http://h:port/",
            "http://h:0x/",
            "http://h:0/x",
            "http://[1:2]:1/x",
            "http://h:65536/x",
            "http://user:secret@127.0.0.1:1/x",
            "http://127.0.0.1:1/x#y",
            "http://127.0.0.1:1/x y",
            "http://127.0.0.1:1/x\r\nX: y",
            "http://127.0.0.1:1/\u00e4",
            "http://h\u00f6st:1/x",
            "HTTP://127.0.0.1:1/x",
        ):
            self.assertIn("does not stream programs by plain HTTP", await self.refused(url))

    async def test_nobody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        self.assertIn(f"streams programs at 127.0.0.1:{port}, where", await self.refused(f"http://127.0.0.1:{port}/x"))

    async def test_what_cannot_be_a_name(self) -> None:
        for host in ("a_b", "x" * 64, "1.2.3.999"):
            self.assertIn(f"streams programs at {host}:1, where", await self.refused(f"http://{host}:1/x"))

    async def test_a_refusal_instead_of_a_stream(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\n\r\nno such stream"

            def say() -> bytes:
                connection = listening.accept()[0]
                with connection:
                    heard = connection.recv(65536)
                    connection.sendall(answer)
                    with contextlib.suppress(ConnectionResetError):
                        connection.recv(65536)
                return heard

            saying = Deferred.fromCoroutine(self.threads.run(say))
            address = f"127.0.0.1:{listening.getsockname()[1]}"
            self.assertIn("refuses to stream a program: no such stream", await self.refused(f"http://{address}/exec/t"))
            heard = await saying
        self.assertTrue(heard.startswith(b"GET /exec/t HTTP/1.1\r\n"))
        self.assertIn(f"\r\nHost: {address}\r\n".encode(), heard)
        self.assertIn(b"v4.channel.k8s.io", heard)
