"""`appliance logs` against the real server: as a program, on pipes and on a terminal."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.journal import BASE, PLAIN, SECOND, Writer, append, numbered, record
from tests.support.machine import SystemServer, system_server
from tests.support.processes import wait_for
from tests.support.server import ROOT

COMMAND = (sys.executable, "-m", "appliance.cli", "logs")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journal")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[SystemServer]:
    with system_server(tmp_path_factory.mktemp("logs"), f'journal_directory = "{folder}"\n') as server:
        yield server


@pytest.fixture(scope="module")
def token_file(server: SystemServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("token") / "token"
    path.write_text(server.api("POST", "/auth/tokens", {"name": "logs"}).json["data"]["token"])
    return path


@pytest.fixture
def writer(folder: Path) -> Iterator[Writer]:
    """Who writes to the journal, in which there are a hundred entries."""
    file = folder / "system.journal"
    append(file, numbered(0, 100))
    writer = Writer(file)
    yield writer
    writer.close()
    file.unlink()


class Run:
    """The program; what it prints is read line by line."""

    def __init__(self, server: SystemServer, token_file: Path, *options: str) -> None:
        argv = [*server.machine.prefix, "env", "TZ=UTC", *COMMAND, server.server.base]
        argv += ["--ca", str(server.server.certificate), "--token-file", str(token_file), *options]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self.process.stdout is not None
        self.output = self.process.stdout

    def messages(self, count: int) -> list[str]:
        """The messages of the next lines."""
        return [self.output.readline().partition(": ")[2].rstrip("\n") for _ in range(count)]

    def kill(self) -> None:
        """End it, if it still runs."""
        self.process.kill()
        self.process.communicate()

    def end(self) -> tuple[int, str]:
        """Its exit code, and what it told on standard error."""
        errors = self.process.communicate(timeout=60)[1]
        return self.process.returncode, errors


@pytest.fixture
def start(server: SystemServer, token_file: Path) -> Iterator[Callable[..., Run]]:
    """Starts the program with the options it is given."""
    with ExitStack() as stack:

        def start(*options: str) -> Run:
            run = Run(server, token_file, *options)
            stack.callback(run.kill)
            return run

        yield start


def journalctls(folder: Path) -> list[str]:
    """The processes of anybody that read this journal."""
    listing = subprocess.run(["ps", "-wweo", "args"], check=True, capture_output=True, text=True).stdout
    return [line for line in listing.splitlines() if "journalctl" in line and f"--directory={folder}" in line]


def numbers(first: int, end: int) -> list[str]:
    return [f"message number {number}" for number in range(first, end)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), range(100)),
        (("--since", "-1h"), []),
        (("--unit", "u1", "-p", "err", "-n", "2"), [91, 97]),
        (("--since", "2025-10-09T08:54:57Z", "--until", "2025-10-09T08:54:58Z"), [97, 98]),
    ],
)
def test_what_there_is(
    start: Callable[..., Run], writer: Writer, options: tuple[str, ...], expected: list[int]
) -> None:
    run = start(*options)
    assert run.messages(len(expected)) == [f"message number {number}" for number in expected]
    assert run.end() == (0, "")


def test_a_line(start: Callable[..., Run], writer: Writer) -> None:
    run = start("-n", "1")
    assert run.output.read() == "Oct  9 08:54:59 probe u0[104]: message number 99\n"
    assert run.end() == (0, "")


def test_it_follows_through_a_restart_of_the_server(
    server: SystemServer, start: Callable[..., Run], folder: Path, writer: Writer
) -> None:
    run = start("-f")
    assert run.messages(10) == numbers(90, 100)
    wait_for(lambda: journalctls(folder), "a follower")
    writer.write(numbered(100, 5))
    assert run.messages(5) == numbers(100, 105)
    same = ({**PLAIN, "MESSAGE": f"message number {number}"} for number in (105, 106))
    writer.write(record(BASE + 105 * SECOND, each) for each in same)
    assert run.messages(2) == numbers(105, 107)
    server.server.stop()
    same = ({**PLAIN, "MESSAGE": f"message number {number}"} for number in (107, 108))
    writer.write(record(BASE + 105 * SECOND, each) for each in same)
    writer.write(numbered(109, 11))
    server.server.start()
    assert run.messages(13) == numbers(107, 120)
    server.server.kill()
    wait_for(lambda: not journalctls(folder), "the end of what the killed server had begun")
    writer.write(numbered(120, 5))
    server.server.start()
    writer.write(numbered(125, 5))
    assert run.messages(10) == numbers(120, 130)
    run.process.send_signal(signal.SIGINT)
    code, errors = run.end()
    assert code == 130
    told = errors.splitlines()
    assert len(told) == 2
    assert told[0] == "The connection is lost (1001: the server is stopping); trying again"
    assert told[1].startswith("The connection is lost (1006")


def test_a_backlog_goes_on_where_it_broke(server: SystemServer, start: Callable[..., Run], writer: Writer) -> None:
    texts = [f"{number} {'x' * 1000}" for number in range(10_000)]
    fields = ({**PLAIN, "MESSAGE": text} for text in texts)
    writer.write(record(BASE + 1000 * SECOND + at, each) for at, each in enumerate(fields))
    writer.close()
    run = start("--since", str(BASE // SECOND + 1000))
    assert run.messages(10) == texts[:10]
    server.server.stop()  # while the program waits until its output is read
    server.server.start()
    assert run.messages(9990) == texts[10:]
    code, errors = run.end()
    assert (code, errors.count("trying again")) == (0, 1)


def test_nobody_reads_any_more(start: Callable[..., Run], writer: Writer) -> None:
    busy, idle = start(), start("-f", "-n", "1")
    for run in (busy, idle):
        run.messages(1)
        run.output.close()
        assert run.process.wait(60) == 141
        assert run.process.stderr is not None
        assert run.process.stderr.read() == ""
        run.process.stderr.close()


def test_on_a_terminal_there_are_colours(server: SystemServer, token_file: Path, writer: Writer) -> None:
    ours, theirs = pty.openpty()
    argv = [*server.machine.prefix, *COMMAND, server.server.base, "--ca", str(server.server.certificate)]
    argv += ["--token-file", str(token_file), "-f", "-n", "8"]
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment)
    os.close(theirs)
    seen = b""
    while b"number 99" not in seen:
        seen += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    os.close(ours)
    assert b"\x1b[1;31mmessage number 99\x1b[0m\r\n" in seen
    assert b"\x1b[1;33mmessage number 92\x1b[0m\r\n" in seen


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--priority", "loud"), "Error: priority: expected one of"),
        (("--unit", "-x"), "Error: unit: expected the name"),
    ],
)
def test_what_the_server_does_not_take(
    start: Callable[..., Run], writer: Writer, options: tuple[str, ...], words: str
) -> None:
    code, errors = start(*options).end()
    assert code == 1
    assert errors.startswith(words)


def test_a_server_that_is_not_there_at_first(server: SystemServer, start: Callable[..., Run]) -> None:
    server.server.stop()
    try:
        code, errors = start("-f").end()
    finally:
        server.server.start()
    assert code == 1
    assert "cannot be reached" in errors
