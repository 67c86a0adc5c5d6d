"""`appliance shell` against the real server: as a program on a terminal of its own."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.support.machine import PASSWORD, SystemServer, system_server
from tests.support.processes import alive, wait_for
from tests.support.server import ROOT

COMMAND = (sys.executable, "-m", "appliance.cli", "shell")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    with system_server(tmp_path_factory.mktemp("shell"), "terminal_reattach = 30\n") as server:
        yield server


@pytest.fixture(scope="module")
def token_file(server: SystemServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("token") / "token"
    answer = server.api("POST", "/auth/tokens", {"name": "shell"})
    path.write_text(answer.json["data"]["token"])
    return path


class Terminal:
    """The program on a terminal of its own, which is its controlling one."""

    def __init__(self, server: SystemServer, *options: str) -> None:
        self.ours, self.theirs = pty.openpty()
        self.resize(24, 80)
        self.before = termios.tcgetattr(self.theirs)
        self.seen = ""
        trust = ("--ca", str(server.server.certificate))
        self.process = subprocess.Popen(
            [*server.machine.prefix, "setsid", "--ctty", *COMMAND, server.server.base, *trust, *options],
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            cwd=ROOT,
        )

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, wanted: str) -> "re.Match[str]":
        """Wait for what the regular expression matches, and forget what came up to its end."""
        deadline = time.monotonic() + 30
        while (found := re.search(wanted, self.seen)) is None:
            assert time.monotonic() < deadline and self.process.poll() is None, self.seen
            if select.select([self.ours], [], [], 1)[0]:
                self.seen += os.read(self.ours, 65536).decode()
        self.seen = self.seen[found.end() :]
        return found

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def ready(self) -> int:
        """Wait for the shell, and let it print neither prompts nor what is typed; its process id."""
        self.wait_for(r"\$ ")
        self.type("PS1=; PROMPT_COMMAND=; set +o emacs; stty -echo; echo rea''dy $$\n")
        return int(self.wait_for(r"ready (\d+)\r\n")[1])

    def end(self) -> int:
        """What it exits with; its last words are in `seen`, and the terminal is as it was."""
        code = self.process.wait(60)
        while select.select([self.ours], [], [], 0)[0]:
            self.seen += os.read(self.ours, 65536).decode()
        assert termios.tcgetattr(self.theirs) == self.before
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        os.close(self.theirs)
        os.close(self.ours)


@pytest.fixture
def shells(server: SystemServer) -> Iterator[Callable[..., Terminal]]:
    """Starts the command with options, and sees to it that it ends."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(closing(Terminal(server, *options)))


def test_a_shell_with_a_password(shells: Callable[..., Terminal]) -> None:
    terminal = shells("--user", "reader")
    terminal.wait_for("Password of reader on 127.0.0.1: ")
    terminal.type(f"{PASSWORD}\n")
    terminal.ready()
    terminal.type("whoami; stty size; echo 'grüße 😀'\n")
    terminal.wait_for("reader\r\n24 80\r\ngrüße 😀\r\n")
    terminal.resize(50, 132)
    terminal.type("sleep 0.2; stty size\n")
    terminal.wait_for("50 132\r\n")
    terminal.type("exit 7\n")
    assert terminal.end() == 7


def test_keys_go_to_the_other_end(shells: Callable[..., Terminal], token_file: Path) -> None:
    terminal = shells("--token-file", str(token_file), "--shell", "/bin/bash")
    terminal.ready()
    terminal.type("sleep 1000\n")
    time.sleep(0.3)
    terminal.type("\x03")
    terminal.type("echo interrupted $?; kill -15 $$; kill -9 $$\n")
    terminal.wait_for("interrupted 130\r\n")
    assert terminal.end() == 128 + 9


def test_the_escape(shells: Callable[..., Terminal], token_file: Path) -> None:
    terminal = shells("--token-file", str(token_file))
    pid = terminal.ready()
    terminal.type("echo ~~x ~.y\n~~printf never\x15~~\x15echo a~.b\n")
    terminal.wait_for(r"a~\.b\r\n")
    terminal.type("sleep 1000\n")
    terminal.type("~.")
    assert terminal.end() == 255
    wait_for(lambda: not alive(pid), "the end of the shell")


def test_a_connection_that_breaks_is_made_again(
    server: SystemServer, shells: Callable[..., Terminal], token_file: Path
) -> None:
    terminal = shells("--token-file", str(token_file))
    pid = terminal.ready()
    terminal.type("x=kept; echo be''gun; sleep 1; echo mean''while\n")
    terminal.wait_for("begun\r\n")
    server.machine.run("ss", "--kill", "--tcp", "state", "established", "dport", "=", f":{server.server.port}")
    terminal.wait_for(r"\[the connection is lost and sought again")
    terminal.wait_for("meanwhile\r\n")
    terminal.type("echo $x $$\n")
    terminal.wait_for(f"kept {pid}\r\n")
    terminal.type("exit\n")
    assert terminal.end() == 0


def test_the_server_stops(tmp_path: Path) -> None:
    with system_server(tmp_path) as server, ExitStack() as stack:
        terminal = stack.enter_context(closing(Terminal(server, "--user", "reader")))
        terminal.wait_for("Password")
        terminal.type(f"{PASSWORD}\n")
        terminal.ready()
        server.server.stop()
        assert terminal.end() == 1
    assert "Error: The server has closed the connection (1001: the server is stopping)" in terminal.seen


def test_it_is_ended_by_a_signal(shells: Callable[..., Terminal], token_file: Path) -> None:
    terminal = shells("--token-file", str(token_file))
    pid = terminal.ready()
    os.kill(terminal.process.pid, signal.SIGTERM)
    assert terminal.end() == 130
    wait_for(lambda: not alive(pid), "the end of the shell")


def test_a_shell_that_is_refused(shells: Callable[..., Terminal], token_file: Path) -> None:
    terminal = shells("--token-file", str(token_file), "--shell", "/usr/bin/python3")
    assert terminal.end() == 1
    assert "is not one of those in /etc/shells" in terminal.seen


def test_a_terminal_is_needed(server: SystemServer, token_file: Path) -> None:
    finished = subprocess.run(
        [*server.machine.prefix, *COMMAND, server.server.base, "--token-file", str(token_file)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert (finished.returncode, finished.stderr) == (1, "Error: A shell needs a terminal\n")
