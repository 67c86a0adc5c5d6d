"""`appliance top` against the real server: as a program, with and without a terminal."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine import PASSWORD, SystemServer, system_server
from tests.support.server import ROOT

COMMAND = (sys.executable, "-m", "appliance.cli", "top")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    with system_server(tmp_path_factory.mktemp("top")) as server:
        yield server


@pytest.fixture(scope="module")
def token_file(server: SystemServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("token") / "token"
    answer = server.api("POST", "/auth/tokens", {"name": "top"})
    path.write_text(answer.json["data"]["token"])
    return path


def top(server: SystemServer, *options: str, url: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run it to its end, with the server's certificate trusted and no terminal."""
    return subprocess.run(
        [*server.machine.prefix, *COMMAND, url or server.server.base, *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
    )


def trusting(server: SystemServer, *options: str) -> tuple[str, ...]:
    return ("--ca", str(server.server.certificate), *options)


def test_a_line_for_each_sample(server: SystemServer, token_file: Path) -> None:
    finished = top(server, *trusting(server, "--token-file", str(token_file), "-n", "1", "--count", "2"))
    assert (finished.returncode, finished.stderr) == (0, "")
    lines = finished.stdout.splitlines()
    assert len(lines) == 2
    pattern = r"\d{4}-\S+Z cpu +[\d.]+% mem +[\d.]+% load [\d.]+ rx [\d.]+[BKMG]/s tx [\d.]+[BKMG]/s"
    assert all(re.fullmatch(pattern, line) for line in lines), lines


def test_a_certificate_that_is_not_trusted(server: SystemServer, token_file: Path) -> None:
    finished = top(server, "--token-file", str(token_file))
    assert finished.returncode == 1
    assert "its certificate is not trusted" in finished.stderr


def test_a_name_that_is_not_in_the_certificate(server: SystemServer, token_file: Path) -> None:
    url = f"https://127.0.0.2:{server.server.port}"
    server.machine.run("ip", "address", "replace", "127.0.0.2/8", "dev", "lo")
    finished = top(server, *trusting(server, "--token-file", str(token_file)), url=url)
    assert finished.returncode == 1
    assert "cannot be reached" in finished.stderr


def test_a_token_that_is_not_good(server: SystemServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("apl_nothing")
    finished = top(server, *trusting(server, "--token-file", str(tmp_path / "token")))
    assert (finished.returncode, finished.stderr) == (1, "Error: Missing or invalid token\n")


def test_nobody_listens(server: SystemServer, token_file: Path) -> None:
    finished = top(server, *trusting(server, "--token-file", str(token_file)), url="https://127.0.0.1:1")
    assert finished.returncode == 1
    assert "cannot be reached" in finished.stderr


@pytest.mark.parametrize(
    "options", [("--user", "admin", "--token-file", "x"), ("--interval", "0"), ("--interval", "61"), ("--count", "0")]
)
def test_options_that_make_no_sense(server: SystemServer, options: tuple[str, ...]) -> None:
    assert top(server, *options).returncode == 2


class Terminal:
    """The program on a terminal of its own, which is its controlling one."""

    def __init__(self, server: SystemServer, *options: str) -> None:
        self.ours, theirs = pty.openpty()
        self.seen = b""
        self.process = subprocess.Popen(
            [*server.machine.prefix, "setsid", "--ctty", *COMMAND, server.server.base, *trusting(server, *options)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=ROOT,
        )
        os.close(theirs)

    def wait_for(self, wanted: bytes) -> None:
        deadline = time.monotonic() + 60
        while wanted not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.ours], [], [], 1)[0]:
                self.seen += self._read()

    def type(self, text: bytes) -> None:
        os.write(self.ours, text)

    def end(self) -> int:
        """What it exits with; its last words are seen."""
        while data := self._read():
            self.seen += data
        os.close(self.ours)
        return self.process.wait(60)

    def _read(self) -> bytes:
        try:
            return os.read(self.ours, 65536)
        except OSError:  # the other side is closed
            return b""


def test_on_a_terminal_with_a_password(server: SystemServer) -> None:
    terminal = Terminal(server, "--interval", "1")
    terminal.wait_for(b"User: ")
    terminal.type(b"reader\n")
    terminal.wait_for(b"Password of reader on 127.0.0.1: ")
    terminal.type(PASSWORD.encode() + b"\n")
    terminal.wait_for(b"\x1b[?1049h")
    terminal.wait_for(b"interface")
    terminal.wait_for(b"mounted on")
    terminal.type(b"\x03")
    assert terminal.end() == 130
    assert terminal.seen.endswith(b"\x1b[?25h\x1b[?1049l")
    assert PASSWORD.encode() not in terminal.seen


def test_a_wrong_password(server: SystemServer) -> None:
    terminal = Terminal(server, "--user", "reader")
    terminal.wait_for(b"Password of reader on 127.0.0.1: ")
    terminal.type(b"wrong\n")
    assert terminal.end() == 1
    assert b"Error: Invalid username or password" in terminal.seen
    assert b"\x1b[?1049h" not in terminal.seen  # or the error would be gone with the other screen


def test_the_server_stops(tmp_path: Path) -> None:
    with system_server(tmp_path) as server:
        terminal = Terminal(server, "--interval", "1", "--user", "reader")
        terminal.wait_for(b"Password")
        terminal.type(PASSWORD.encode() + b"\n")
        terminal.wait_for(b"interface")
        server.server.stop()
        assert terminal.end() == 1
    _, _, after = terminal.seen.partition(b"\x1b[?1049l")
    assert b"Error: The server has closed the connection (1001: the server is stopping)" in after
