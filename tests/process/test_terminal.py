"""Real programs on real terminals."""

import os
import pwd
import signal
from pathlib import Path

from twisted.internet import reactor as global_reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from appliance.process.child import Ending
from appliance.process.command import ENVIRONMENT
from appliance.process.errors import ProcessError
from appliance.process.terminal import Size, Terminal, open_terminal
from tests.support.listening import reactor

assert reactor is global_reactor
MIB = 1 << 20


class TerminalTests(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.output = bytearray()
        self.terminals: list[Terminal] = []

    async def tearDown(self) -> None:  # type: ignore[override]  # trial waits for it
        for terminal in self.terminals:
            terminal.terminate()
            await terminal.wait()

    def open(self, *command: str, uid: int | None = None, cwd: str = "/") -> Terminal:
        argv = command or ("/bin/sh",)
        env = {**ENVIRONMENT, "TERM": "xterm-256color", "PS1": "$ "}
        terminal = open_terminal(
            reactor, argv[0], argv, self.output.extend, size=Size(24, 80), env=env, cwd=cwd, uid=uid, gid=uid
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

    async def run_once(self, script: str, uid: int | None = None) -> list[str]:
        """The lines that a script prints."""
        await self.open("/bin/sh", "-c", script, uid=uid).wait()
        return self.output.decode().split("\r\n")[:-1]

    async def test_it_leads_a_session_and_has_the_terminal(self) -> None:
        (line,) = await self.run_once("cut -d' ' -f1,6,7 /proc/$$/stat")
        pid, session, tty = line.split()
        self.assertEqual(pid, session)
        self.assertNotEqual(tty, "0")

    async def test_it_runs_as_the_user(self) -> None:
        nobody = pwd.getpwnam("nobody").pw_uid
        lines = await self.run_once("id -u; ls -ln $(tty) | cut -d' ' -f3", nobody)
        self.assertEqual(lines, [str(nobody), str(nobody)])

    async def test_no_descriptor_of_ours_is_open_in_it(self) -> None:
        with Path("/etc/passwd").open():
            self.assertEqual(await self.run_once("ls -l /proc/$$/fd | grep -c passwd"), ["0"])

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

    def test_a_program_that_cannot_be_started(self) -> None:
        before = len(os.listdir("/proc/self/fd"))
        with self.assertRaises(ProcessError):
            self.open("/nonexistent/shell")
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
