"""The first run's token reaches the console and no journal."""

import os
from pathlib import Path

import pytest

from appliance.announcement import goes_to_journal, to_console
from tests.support.machine import machine
from tests.support.server import Server


def stream_of(path: Path) -> str:
    found = path.stat()
    return f"{found.st_dev}:{found.st_ino}"


def test_what_goes_to_the_journal(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.touch()
    other.touch()
    with mine.open() as file:
        assert goes_to_journal(file.fileno(), stream_of(mine))
        for variable in ("", ":", "0:0", stream_of(other)):
            assert not goes_to_journal(file.fileno(), variable)
        closed = file.fileno()
    assert not goes_to_journal(closed, stream_of(mine))


def test_the_environment_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log").touch()
    monkeypatch.setenv("JOURNAL_STREAM", stream_of(tmp_path / "log"))
    with (tmp_path / "log").open() as file:
        assert goes_to_journal(file.fileno())


def test_a_console_that_takes_it_and_one_that_does_not(tmp_path: Path) -> None:
    path = tmp_path / "console"
    os.mkfifo(path)
    assert not to_console("secret", str(path))  # nobody reads
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert to_console("secret", str(path))
        assert os.read(reader, 100) == b"\r\nsecret\r\n"
        while to_console("x" * 4000, str(path)):
            pass  # until it is full
    finally:
        os.close(reader)
    assert not to_console("secret", str(tmp_path / "nothing"))


def test_the_token_of_a_service_under_systemd(tmp_path: Path) -> None:
    console = tmp_path / "console"
    console.touch()
    with machine(tmp_path / "machine") as inside:
        inside.run("mount", "--bind", str(console), "/dev/console")
        server = Server(tmp_path / "server", prefix=inside.prefix)
        server.folder.mkdir()
        server.log.touch()
        server.environment["JOURNAL_STREAM"] = stream_of(server.log)
        server.start("--first-run")
        try:
            token = (server.admin / "etc" / "api.token.setup").read_text().strip()
            found = server.wait_for_line(r"The first-run token is on the console and in ([^\"]+)")
            assert found[1] == str(server.admin / "etc" / "api.token.setup")
            assert console.read_text().strip() == f"First-run token: {token}"
            assert token not in server.log.read_text()
        finally:
            server.stop()
