"""Real programs on real terminals."""

import os
import resource
import signal
from pathlib import Path

from twisted.internet import reactor as global_reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from appliance.process import terminal as module
from appliance.process.child import Ending
from appliance.process.command import ENVIRONMENT
from appliance.process.terminal import Identity, Size, Terminal, open_terminal
from tests.support.listening import reactor

assert reactor is global_reactor
MIB = 1 << 20
GLIBC_SIGNALS = 3 << 31  # SIGCANCEL and SIGSETXID, which its posix_spawn ignores


class TerminalTests(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.output = bytearray()
        self.terminals: list[Terminal] = []

    async def tearDown(self) -> None:  # type: ignore[override]  # trial waits for it
        for terminal in self.terminals:
            terminal.terminate()
            await terminal.wait()

    def open(self, *command: str, identity: Identity | None = None, cwd: str = "/") -> Terminal:
        argv = command or ("/bin/sh",)
        env = {**ENVIRONMENT, "TERM": "xterm-256color", "PS1": "$ "}
        terminal = open_terminal(
            reactor, argv[0], argv, self.output.extend, size=Size(24, 80), env=env, cwd=cwd, identity=identity
        )
        self.terminals.append(terminal)
        return terminal

    async def until(self, *parts: bytes) -> None:
        while not all(part in self.output for part in parts):
            await deferLater(reactor, 0.01, lambda: None)

    async def test_what_is_typed_is_run(self) -> None:
        terminal = self.open()
        terminal.write(b"echo $((6 * 7)) $(tty | cut -c1-9)\n")
        await self.until(b"42 /dev/pts/")
        terminal.write(b"exit 7\n")
        self.assertEqual(await terminal.wait(), Ending(7, None))

    async def test_the_size_and_its_change(self) -> None:
        terminal = self.open()
        terminal.write(b"stty size\n")
        await self.until(b"24 80")
        terminal.resize(Size(50, 132))
        terminal.write(b"stty size\n")
        await self.until(b"50 132")

    async def run_once(self, script: str, identity: Identity | None = None, cwd: str = "/") -> list[str]:
        """The lines that a script prints."""
        await self.open("/bin/sh", "-c", script, identity=identity, cwd=cwd).wait()
        return self.output.decode().split("\r\n")[:-1]

    async def test_it_leads_a_session_and_has_the_terminal(self) -> None:
        (line,) = await self.run_once("cut -d' ' -f1,6,7 /proc/$$/stat")
        pid, session, tty = line.split()
        self.assertEqual(pid, session)
        self.assertNotEqual(tty, "0")

    async def test_it_runs_as_the_user(self) -> None:
        nobody = Identity(65534, 65534, (65534, 7, 9))
        lines = await self.run_once("id -u; id -G; ls -ln $(tty) | cut -d' ' -f3; grep Cap /proc/$$/status", nobody)
        self.assertEqual(lines[:3], ["65534", "65534 7 9", "65534"])
        capabilities = {name: int(value, 16) for name, value in (line.split(":") for line in lines[3:])}
        self.assertEqual([capabilities[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")], [0, 0, 0, 0])

    async def test_nothing_of_the_server_is_in_it(self) -> None:
        old = os.umask(0o077)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (900, limits[1]))
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        self.addCleanup(os.umask, old)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.SIG_DFL)
        lines = await self.run_once("umask; ulimit -Sn; grep SigIgn /proc/$$/status; env")
        self.assertEqual(lines[:2], ["0022", "1024"])
        self.assertEqual(int(lines[2].split()[1], 16) & ~GLIBC_SIGNALS, 0)
        names = {line.partition("=")[0] for line in lines[3:]}
        self.assertEqual(names, {*ENVIRONMENT, "TERM", "PS1", "PWD"})

    async def test_its_directory_is_the_users_to_enter(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder, 0o700)
        path = os.path.abspath(folder)
        self.assertEqual(await self.run_once("pwd", cwd=path), [path])
        self.output.clear()
        lines = await self.run_once("pwd; echo $HOME", Identity(65534, 65534, ()), cwd=path)
        self.assertEqual(lines, [f"{path}: Permission denied. Logging in with HOME=/.", "/", "/"])

    async def test_no_descriptor_of_ours_is_open_in_it(self) -> None:
        with Path("/etc/passwd").open():
            self.assertEqual(await self.run_once("ls -l /proc/$$/fd 2>/dev/null | grep -c passwd"), ["0"])

    async def test_all_output_comes_before_the_end(self) -> None:
        terminal = self.open("/bin/sh", "-c", "seq 1 200000; exit 3")
        self.assertEqual(await terminal.wait(), Ending(3, None))
        self.assertEqual(bytes(self.output).split(), [b"%d" % number for number in range(1, 200_001)])

    async def test_a_paused_one_waits_and_loses_nothing(self) -> None:
        terminal = self.open("/bin/sh", "-c", "seq 1 100000; echo last")
        while not self.output:
            await deferLater(reactor, 0, lambda: None)
        terminal.pause()
        held = len(self.output)
        await deferLater(reactor, 0.2, lambda: None)
        self.assertEqual(len(self.output), held)
        terminal.resume()
        await terminal.wait()
        self.assertEqual(len(self.output.split()), 100_001)

    async def test_input_that_is_not_read_makes_the_writer_wait(self) -> None:
        terminal = self.open("/bin/sh", "-c", "stty raw -echo; echo ready; sleep 0.5; head -c 1048576 | wc -c")
        await self.until(b"ready")
        for _ in range(16):
            await terminal.writable()
            terminal.write(b"x" * (MIB // 16))
        await self.until(b"1048576")

    async def test_hanging_up_ends_all_of_the_session(self) -> None:
        terminal = self.open()
        terminal.write(b"set -m; sleep 1000 & (trap '' HUP; echo in the way; sleep 0.3) & sleep 999\n")
        await self.until(b"in the way\r\n")
        members = [int(pid) for pid in session(terminal.pid)]
        self.assertGreater(len(members), 2)
        terminal.terminate()
        ending = await terminal.wait()
        self.assertEqual(ending.signal, signal.SIGHUP)
        self.assertEqual(session(terminal.pid), [])

    async def test_what_it_left_in_its_session_goes_with_it(self) -> None:
        self.patch(module, "TERMINATE_GRACE", 0.5)
        script = "(trap '' HUP; echo $$; while :; do sleep 0.1; done) & sleep 999 & echo begun; exit 7"
        terminal = self.open("/bin/sh", "-c", script)
        self.assertEqual(await terminal.wait(), Ending(7, None))
        self.assertIn(b"begun", self.output)
        self.assertEqual(session(terminal.pid), [])

    async def test_a_daemon_that_keeps_the_terminal_open_is_not_waited_for(self) -> None:
        terminal = self.open("/bin/sh", "-c", "setsid sleep 100 & echo $!; sleep 0.2; exit 7")
        self.assertEqual(await terminal.wait(), Ending(7, None))
        daemon = int(self.output.split()[0])
        self.assertEqual(Path(f"/proc/{daemon}/comm").read_text(), "sleep\n")
        os.kill(daemon, signal.SIGKILL)

    async def test_what_was_printed_before_the_end_waits_for_a_slow_reader(self) -> None:
        terminal = self.open("/bin/sh", "-c", "echo begun; read line; seq 1 500; exit 7")
        await self.until(b"begun")
        terminal.pause()
        terminal.write(b"go\n")
        await deferLater(reactor, 0.5, lambda: None)
        self.assertNotIn(b"500", self.output)
        terminal.resume()
        self.assertEqual(await terminal.wait(), Ending(7, None))
        self.assertTrue(self.output.endswith(b"500\r\n"))

    async def test_one_that_ends_by_a_signal(self) -> None:
        terminal = self.open("/bin/sh", "-c", "kill -9 $$")
        self.assertEqual(await terminal.wait(), Ending(None, signal.SIGKILL))

    async def test_after_its_end_nothing_happens_any_more(self) -> None:
        terminal = self.open("/bin/true")
        await terminal.wait()
        terminal.write(b"x")
        terminal.resize(Size(1, 1))
        terminal.resume()
        terminal.terminate()
        await terminal.writable()

    async def test_a_program_that_cannot_be_started(self) -> None:
        self.assertEqual(await self.open("/nonexistent/shell").wait(), Ending(127, None))
        before = len(os.listdir("/proc/self/fd"))
        self.assertEqual(await self.open("/etc/passwd").wait(), Ending(126, None))
        text = "/nonexistent/shell: No such file or directory\r\n/etc/passwd: Permission denied\r\n"
        self.assertEqual(self.output.decode(), text)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


def session(leader: int) -> list[str]:
    """The processes of a session that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[3] == str(leader) and fields[0] != "Z":
            found.append(path.parent.name)
    return found
