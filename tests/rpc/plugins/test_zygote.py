"""The zygote: how it lives and dies, what it notices, what it must not keep."""

import hashlib
import os
import signal
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from twisted.internet import process
from twisted.internet.defer import CancelledError, gatherResults
from twisted.internet.task import deferLater

from appliance.process.descriptors import trust_close_on_exec
from appliance.rpc.plugins import plugins as plugins_module
from appliance.rpc.plugins import warm, zygotes
from appliance.rpc.plugins.outcome import Outcome
from appliance.rpc.plugins.plugins import Plugins
from tests.support.plugins import PluginsTestCase, python, reactor, shell, write
from tests.support.processes import alive, eventually, wait_for

ROOT = Path(__file__).resolve().parents[3]
PARENT = python("import os; print(os.getppid())")

# A server that prints the pid of its zygote and goes on.
SERVER = """
import sys
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from appliance.rpc.plugins.plugins import PluginOptions, Plugins
from appliance.threads import Threads

async def go():
    plugins = Plugins(reactor, Threads(reactor), PluginOptions((Path(sys.argv[1]),)))
    await plugins.start()
    print((await plugins.call("parent", "run", b"{}", timeout=60)).output.decode(), flush=True)

reactor.callWhenRunning(lambda: Deferred.fromCoroutine(go()))
reactor.run()
"""


class ZygoteTestCase(PluginsTestCase):
    async def start(self, **options: Any) -> Plugins:
        self.patch(plugins_module, "ZYGOTE_PATIENCE", 60)
        plugins = await super().start(**options)
        await deferLater(reactor, 0.15)  # so that the files count as settled
        await plugins.refresh()
        return plugins

    def zygote(self) -> int:
        """The pid of the only one."""
        assert self.plugins is not None
        (pid,) = self.plugins._zygotes.pids()
        return pid

    async def parent(self, name: str = "parent") -> int:
        """Who starts a plugin's process: the zygote, or this one."""
        return int((await self.call(name)).output)

    def waiting(self, before: str = "") -> str:
        """A plugin that writes its pid, and then waits for a file `go`."""
        return python(
            f"import os, time\n{before}\nopen('{self.folder}/pids', 'a').write(f'{{os.getpid()}} ')\n"
            f"while not os.path.exists('{self.folder}/go'): time.sleep(0.02)\nprint('done')"
        )

    def pids(self) -> list[int]:
        """What such plugins have written."""
        file = self.folder / "pids"
        return [int(pid) for pid in file.read_text().split()] if file.exists() else []


class LifeTests(ZygoteTestCase):
    async def test_who_starts_what(self) -> None:
        self.add("parent", PARENT)
        self.add("exempt", PARENT)
        self.add("sh", shell("echo $PPID"))
        await self.start(zygote_exempt=("exempt",))
        self.assertEqual(await self.parent(), self.zygote())
        self.assertEqual(await self.parent("exempt"), os.getpid())
        self.assertEqual(await self.parent("sh"), os.getpid())

    async def test_off(self) -> None:
        self.add("parent", PARENT)
        plugins = await self.start(zygote=False)
        self.assertEqual(await self.parent(), os.getpid())
        self.assertEqual(plugins._zygotes.pids(), [])

    async def test_none_where_there_is_no_python(self) -> None:
        self.add("sh", shell("echo $PPID"))
        plugins = await self.start()
        self.assertEqual(plugins._zygotes.pids(), [])

    async def test_one_for_each_command_line_and_eight_at_most(self) -> None:
        flags = ["", " -I", " -s", " -E", " -B", " -u", " -O", " -S", " -b", " -bb"]
        for number, flag in enumerate(flags):
            self.add(f"parent{number}", PARENT.replace("python3", f"python3{flag}"))
        plugins = await self.start()
        parents = {await self.parent(f"parent{number}") for number in range(len(flags))}
        self.assertEqual(len(plugins._zygotes.pids()), 8)
        self.assertEqual(parents, {*plugins._zygotes.pids(), os.getpid()})

    async def test_it_is_gone_when_the_server_is_killed(self) -> None:
        self.add("parent", PARENT)
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(self.folder)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        self.assertNotEqual(pid, server.pid)
        self.assertTrue(alive(pid))
        server.kill()
        server.wait()
        server.stdout.close()
        wait_for(lambda: not alive(pid), "the end of the zygote")

    async def test_reload_replaces_it_and_lets_its_calls_end(self) -> None:
        self.add("parent", PARENT)
        self.add("slow", self.waiting())
        plugins = await self.start()
        old = self.zygote()
        call = self.begin("slow")
        await eventually(self.pids, "the start")
        await plugins.reload()
        new = await self.parent()
        self.assertNotIn(new, (old, os.getpid()))
        self.assertTrue(alive(old))
        (self.folder / "go").touch()
        self.assertEqual((await call).output, b"done\n")
        await eventually(lambda: plugins._zygotes.pids() == [new], "the end of the old one")

    async def test_many_at_once(self) -> None:
        self.add("one", python("import time; time.sleep(0.01); print(sys.stdin.read())"))
        await self.start(parallel=20)
        outcomes = await gatherResults([self.begin("one", n, caller=str(n % 5)) for n in range(200)])
        self.assertEqual([outcome.output for outcome in outcomes], [f"{n}\n".encode() for n in range(200)])


class CallTests(ZygoteTestCase):
    async def test_payloads_and_outputs_of_all_sizes(self) -> None:
        self.add("one", python("data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data[::-1])"))
        await self.start()
        for size in (0, 1, 70_000, 1 << 20, 10 << 20):
            payload = os.urandom(1 << 16) * (size >> 16) + os.urandom(size & 0xFFFF)
            outcome = await self.call("one", payload)
            self.assertEqual(
                hashlib.sha256(outcome.output).digest(), hashlib.sha256(payload[::-1]).digest(), f"{size} bytes"
            )

    async def test_one_that_hangs_is_ended_with_its_children(self) -> None:
        self.add("one", self.waiting("os.fork()"))
        await self.start()
        self.assertEqual(await self.call("one", timeout=0.5), Outcome("timeout"))
        self.assertEqual(len(self.pids()), 2)
        await eventually(lambda: not any(map(alive, self.pids())), "the end of all")
        self.assertTrue(alive(self.zygote()))

    async def test_cancelling_ends_the_whole_group(self) -> None:
        self.add("one", self.waiting("os.fork()"))
        await self.start()
        call = self.begin("one")
        await eventually(lambda: len(self.pids()) == 2, "the start")
        call.cancel()
        await self.assertFailure(call, CancelledError)
        await eventually(lambda: not any(map(alive, self.pids())), "the end of all")

    async def test_a_background_child_that_holds_the_output(self) -> None:
        self.add("one", self.waiting("print(1, flush=True)\nif os.fork(): os._exit(0)"))
        await self.start()
        self.assertEqual((await self.call("one")).output, b"1\n")
        await eventually(self.pids, "the background child")
        self.assertTrue(alive(self.pids()[0]))
        (self.folder / "go").touch()
        await eventually(lambda: not alive(self.pids()[0]), "its end")

    async def test_progress(self) -> None:
        self.add("one", python("import os\nos.write(3, b'{\"progress\": 40}\\n')\nprint(1)"))
        await self.start()
        seen: list[int] = []
        self.assertEqual((await self.call("one", progress=seen.append)).output, b"1\n")
        self.assertEqual(seen, [40])

    async def test_chance(self) -> None:
        body = "import random, uuid, tempfile, secrets\n"
        body += "print(random.random(), uuid.uuid4(), tempfile.mktemp(), secrets.token_hex())"
        self.add("one", python(body))
        await self.start()
        outcomes = await gatherResults([self.begin("one") for _ in range(10)])
        for position in range(4):
            self.assertEqual(len({outcome.output.split()[position] for outcome in outcomes}), 10)


class DeathTests(ZygoteTestCase):
    async def test_killed_with_calls_in_flight(self) -> None:
        self.patch(zygotes, "FIRST_PAUSE", 0.1)
        self.add("parent", PARENT)
        self.add("slow", self.waiting())
        self.add("fork", self.waiting("os.fork()"))
        await self.start()
        zygote = self.zygote()
        calls = [self.begin(name) for name in ("slow", "slow", "slow", "fork")]
        await eventually(lambda: len(self.pids()) == 5, "the start of all")
        os.kill(zygote, signal.SIGKILL)
        self.assertEqual(await gatherResults(calls), [Outcome("unavailable")] * 4)
        await eventually(lambda: not any(map(alive, self.pids())), "the end of what it had forked")
        self.assertEqual(await self.parent(), os.getpid())  # without it, and at once
        for _ in range(500):
            if await self.parent() != os.getpid():
                break
            await deferLater(reactor, 0.02)
        self.assertEqual(await self.parent(), self.zygote())

    async def test_killed_before_it_has_begun_a_call(self) -> None:
        self.add("count", python(f"open('{self.folder}/runs', 'a').write('x')\nprint('done')"))
        await self.start()
        zygote = self.zygote()
        os.kill(zygote, signal.SIGSTOP)
        calls = [self.begin("count") for _ in range(3)]
        await deferLater(reactor, 0.1)
        self.assertFalse((self.folder / "runs").exists())
        os.kill(zygote, signal.SIGKILL)
        self.assertEqual([outcome.output for outcome in await gatherResults(calls)], [b"done\n"] * 3)
        self.assertEqual((self.folder / "runs").read_text(), "xxx")

    async def test_one_that_hangs_is_killed(self) -> None:
        self.patch(warm, "FORK_LIMIT", 0.2)
        self.add("one", python("print('done')"))
        await self.start()
        zygote = self.zygote()
        os.kill(zygote, signal.SIGSTOP)
        self.assertEqual((await self.call("one")).output, b"done\n")
        self.assertFalse(alive(zygote))

    async def test_cancelled_before_it_has_begun(self) -> None:
        self.add("one", self.waiting())
        plugins = await self.start()
        zygote = self.zygote()
        os.kill(zygote, signal.SIGSTOP)
        call = self.begin("one")
        await deferLater(reactor, 0.05)
        call.cancel()
        await self.assertFailure(call, CancelledError)
        os.kill(zygote, signal.SIGCONT)
        await eventually(lambda: not plugins._invocations, "the end of the call")
        self.assertFalse(any(map(alive, self.pids())))

    async def test_stopping_with_calls_in_flight(self) -> None:
        self.add("slow", self.waiting())
        plugins = await self.start()
        zygote = self.zygote()
        calls = [self.begin("slow") for _ in range(3)]
        await eventually(lambda: len(self.pids()) == 3, "the start of all")
        await plugins.stop()
        self.assertEqual(await gatherResults(calls), [Outcome("unavailable")] * 3)
        self.assertFalse(any(map(alive, [zygote, *self.pids()])))

    async def test_an_interpreter_that_does_not_start_it(self) -> None:
        fake = write(
            self.folder / "python3",
            "#!/bin/sh\ncase $1 in *start.py) echo 'no, thanks' >&2; exit 3;; esac\nexec /usr/bin/python3 \"$@\"\n",
        )
        self.add("one", python("print('done')", f"#!{fake}"))
        await self.start()
        for _ in range(3):
            self.assertEqual((await self.call("one")).output, b"done\n")

    async def test_an_interpreter_that_speaks_nonsense(self) -> None:
        for number, words in enumerate(
            ("nonsense", "cold\\x0077\\x00why", "ended\\x001\\x00exit\\x000", "ready\\x001")
        ):
            folder = self.folder / str(number)
            folder.mkdir()
            fake = write(
                folder / "python3",
                "#!/usr/bin/python3\nimport os, socket, sys, time\n"
                "if not sys.argv[1].endswith('start.py'): os.execv('/usr/bin/python3', ['python3', *sys.argv[1:]])\n"
                f"s = socket.socket(fileno=3); s.send(b'ready'); s.recv(100); s.send(b'{words}'); time.sleep(600)\n",
            )
            self.add(f"one{number}", python("print('done')", f"#!{fake}"))
        await self.start()
        for number in range(4):
            self.assertEqual((await self.call(f"one{number}")).output, b"done\n")


class ChangeTests(ZygoteTestCase):
    async def test_a_script_that_changes_however_quickly(self) -> None:
        self.add("one", python("print(0)"))
        await self.start()
        for number in range(10, 20):
            (self.folder / "one").write_text(python(f"print({number})"))
            self.assertEqual((await self.call("one")).output, f"{number}\n".encode())

    async def test_a_module_beside_it_that_changes(self) -> None:
        self.add("one", python("import helper; print(helper.N)"))
        await self.start()
        for number in (1, 22, 333):  # of different length: Python itself looks at size and second
            (self.folder / "helper.py").write_text(f"N = {number}\n")
            self.assertEqual((await self.call("one")).output, f"{number}\n".encode())

    async def test_a_module_beside_it_with_the_name_of_a_standard_one(self) -> None:
        self.add("parent", PARENT)
        self.add("one", python("import json, os; print(json.NAME, os.getppid())"))
        self.add("isolated", python("import json, os; print(json.NAME, os.getppid())", "#!/usr/bin/python3 -I"))
        await self.start()
        self.assertEqual(len({await self.parent(), await self.parent()}), 1)
        self.assertEqual((await self.call("one")).exit_code, 1)
        (self.folder / "json.py").write_text("NAME = __name__\n")
        self.assertEqual((await self.call("one")).output, f"json {os.getpid()}\n".encode())
        self.assertEqual((await self.call("isolated")).exit_code, 1)  # which does not look beside it
        (self.folder / "json.py").unlink()
        (self.folder / "json").mkdir()
        (self.folder / "json" / "__init__.py").write_text("NAME = 'package'\n")
        self.assertEqual((await self.call("one")).output, f"package {os.getpid()}\n".encode())

    async def test_one_that_cannot_be_compiled_says_so_itself(self) -> None:
        self.add("parent", PARENT)
        path = self.add("warns", python("import os; print(os.getppid(), 1 is 1)"))
        await self.start()
        self.assertEqual((await self.call("warns")).output, f"{os.getpid()} True\n".encode())
        path.write_text("#!/usr/bin/python3\na b\n")
        self.assertEqual((await self.call("warns")).kind, "no_object")
        self.assertNotEqual(await self.parent(), os.getpid())

    async def test_packages_and_path_files_that_are_installed_later(self) -> None:
        place = self.folder / "environment"
        venv.create(place, symlinks=True, with_pip=False)
        (packages,) = place.glob("lib/python*/site-packages")
        self.add("parent", PARENT.replace("/usr/bin/python3", f"{place}/bin/python3"))
        body = "try:\n    import extra; print(extra.NAME, extra.__file__)\nexcept ImportError:\n    print('none')"
        self.add("one", python(body, f"#!{place}/bin/python3"))
        await self.start()
        first = self.zygote()
        self.assertEqual(await self.parent(), first)
        self.assertEqual((await self.call("one")).output, b"none\n")
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "extra.py").write_text("NAME = 'extra'\n")
        (packages / "extra.pth").write_text(f"{elsewhere}\n")
        self.assertEqual((await self.call("one")).output, f"extra {elsewhere}/extra.py\n".encode())
        await eventually(lambda: first not in self.plugins._zygotes.pids() if self.plugins else False, "a new one")
        self.assertEqual((await self.call("one")).output, f"extra {elsewhere}/extra.py\n".encode())


class ClosenessTests(ZygoteTestCase):
    async def test_it_holds_nothing_of_ours(self) -> None:
        self.patch(process, "_listOpenFDs", process._listOpenFDs)
        trust_close_on_exec()  # as the server does
        os.environ["MUST_NOT_LEAK"] = "1"
        self.addCleanup(os.environ.pop, "MUST_NOT_LEAK")
        self.add("parent", PARENT)
        await self.start()
        zygote = await self.parent()
        held = sorted(
            os.readlink(f"/proc/{zygote}/fd/{name}").split(":")[0] for name in os.listdir(f"/proc/{zygote}/fd")
        )
        self.assertEqual(held, ["pipe"] * 5 + ["socket"])  # its three, and two to wake it
        environment = Path(f"/proc/{zygote}/environ").read_bytes()
        self.assertEqual({line.split(b"=")[0] for line in environment.split(b"\0") if line}, {b"PATH", b"LANG"})

    async def test_it_does_not_grow(self) -> None:
        self.add("parent", PARENT)
        self.add("one", python("import json; print(len(json.load(sys.stdin)))"))
        self.add("fails", python("1 / 0"))
        await self.start()
        payload = b"[" + b"1," * 100_000 + b"1]"
        for _ in range(5):
            await self.call("one", payload)
            await self.call("fails")
        zygote = self.zygote()
        descriptors, memory, ours = _descriptors(zygote), _memory(zygote), _descriptors(os.getpid())
        for _ in range(60):
            self.assertEqual((await self.call("one", payload)).output, b"100001\n")
            self.assertEqual((await self.call("fails")).exit_code, 1)
        self.assertEqual(self.zygote(), zygote)
        self.assertEqual((_descriptors(zygote), _descriptors(os.getpid())), (descriptors, ours))
        self.assertLess(_memory(zygote) - memory, 1 << 20)

    async def test_no_secret_in_any_argument_or_environment(self) -> None:
        body = "import glob\nfor f in glob.glob('/proc/[0-9]*/cmdline') + glob.glob('/proc/[0-9]*/environ'):\n"
        body += "    try: sys.stdout.buffer.write(open(f, 'rb').read())\n    except OSError: pass"
        self.add("one", python(body))
        await self.start()
        outcome = await self.call("one", {"password": "unmistakable-8d1c"})
        self.assertIn(b"start.py", outcome.output)
        self.assertNotIn(b"unmistakable-8d1c", outcome.output)


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _memory(pid: int) -> int:
    """What it has for itself, in bytes (proc(5), statm)."""
    resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGESIZE")
