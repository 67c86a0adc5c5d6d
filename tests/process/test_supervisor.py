"""The supervisor alone, without a server."""

import ast
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.process.launch import SUPERVISOR, systemd_scope
from tests.support.processes import alive, number_in, wait_for


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lock").touch()
    return tmp_path


def supervise(folder: Path, *argv: str, lock: str = "lock", **changes: object) -> subprocess.Popen[bytes]:
    """Start the supervisor as the server does."""
    command: dict[str, object] = {
        "argv": list(argv),
        "env": {"PATH": "/usr/bin:/bin"},
        "cwd": "/",
        "log": str(folder / "log"),
        "log_limit": 1 << 20,
        "stop_grace": 0.3,
        "time_limit": None,
    }
    (folder / "command.json").write_text(json.dumps({**command, **changes}))
    descriptor = os.open(folder / lock, os.O_RDWR | os.O_CREAT)
    if lock == "lock":
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        return start(folder, descriptor)
    finally:
        os.close(descriptor)


def start(folder: Path, lock: int) -> subprocess.Popen[bytes]:
    """The supervisor of `folder` with `lock` as its descriptor 3."""
    renumber = (
        "import os, sys; lock = int(sys.argv[1]); os.dup2(lock, 3); lock == 3 or os.close(lock);"
        "os.execv(sys.argv[2], sys.argv[2:])"
    )
    return subprocess.Popen(
        [sys.executable, "-c", renumber, str(lock), sys.executable, "-I", "-S", str(SUPERVISOR), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[lock],
        start_new_session=True,
    )


def result(folder: Path) -> object:
    return json.loads((folder / "exit.json").read_text())


def test_imports_nothing_but_the_standard_library() -> None:
    tree = ast.parse(SUPERVISOR.read_text())
    imported = {
        name.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    } | {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= set(sys.stdlib_module_names)


def test_records_and_result(folder: Path) -> None:
    with supervise(folder, "/bin/sh", "-c", "echo hello; exit 9") as process:
        out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == (b"ready\n", b"", 0)
    assert result(folder) == {"code": 9, "signal": None}
    assert (folder / "log").read_text() == "hello\n"
    marks = json.loads((folder / "process.json").read_text())
    assert set(marks) == {"pid", "start_time", "child_pid", "child_start_time", "boot_id"}
    assert marks["pid"] == process.pid
    leftovers = {path.name for path in folder.iterdir()}
    assert leftovers == {"lock", "command.json", "process.json", "exit.json", "log", "supervisor.log"}
    assert (folder / "supervisor.log").read_text() == ""


def test_program_gets_no_descriptor_but_the_standard_ones(folder: Path) -> None:
    with supervise(folder, "/bin/ls", "-l", "/proc/self/fd") as process:
        process.communicate(timeout=30)
    lines = [line for line in (folder / "log").read_text().splitlines()[1:] if "/proc/" not in line]
    assert [line.split()[8] for line in lines] == ["0", "1", "2"]
    assert lines[0].endswith("/dev/null")


def test_program_has_its_signals_as_usual(folder: Path) -> None:
    with supervise(folder, "/bin/grep", "Sig[BI]", "/proc/self/status") as process:
        process.communicate(timeout=30)
    masks = dict(line.split(":") for line in (folder / "log").read_text().splitlines())
    assert {name: int(mask, 16) for name, mask in masks.items()} == {"SigBlk": 0, "SigIgn": 0}


def test_refused_with_another_file_as_its_lock(folder: Path) -> None:
    with supervise(folder, "/bin/touch", str(folder / "ran"), lock="another") as process:
        _, err = process.communicate(timeout=30)
    assert b"not the lock" in err
    assert process.returncode == 1
    assert not (folder / "ran").exists()


def test_refused_while_another_holds_the_lock(folder: Path) -> None:
    with supervise(folder, "/bin/sleep", "1") as first:
        assert first.stdout is not None
        first.stdout.readline()
        stranger = os.open(folder / "lock", os.O_RDWR)
        with start(folder, stranger) as second:
            _, err = second.communicate(timeout=30)
        os.close(stranger)
        assert b"BlockingIOError" in err
        assert second.returncode == 1
        first.communicate(timeout=30)
    assert result(folder) == {"code": 0, "signal": None}


def test_goes_on_when_the_server_is_gone_before_ready(folder: Path) -> None:
    process = supervise(folder, "/bin/sh", "-c", "exit 4")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=30) == 0
    assert result(folder) == {"code": 4, "signal": None}


def test_hangup_and_interrupt_do_not_end_it(folder: Path) -> None:
    with supervise(folder, "/bin/sh", "-c", "sleep 0.5; exit 3") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert result(folder) == {"code": 3, "signal": None}


def test_killed_program(folder: Path) -> None:
    with supervise(folder, "/bin/sh", "-c", "kill -9 $$") as process:
        process.communicate(timeout=30)
    assert result(folder) == {"code": None, "signal": 9}


def test_term_ends_the_group_of_the_program(folder: Path) -> None:
    script = f"trap '' TERM; sleep 60 & echo $! > {folder}/helper; while :; do sleep 0.1; done"
    with supervise(folder, "/bin/sh", "-c", script) as process:
        helper = wait_for(lambda: number_in(folder / "helper"), "the helper")
        process.terminate()
        process.communicate(timeout=30)
    assert result(folder) == {"code": None, "signal": 9}
    wait_for(lambda: not alive(helper), "the end of the helper")


def test_a_program_whose_time_is_up_is_stopped(folder: Path) -> None:
    script = "trap 'echo caught; exit 3' TERM; echo begun; while :; do sleep 0.05; done 2>/dev/null"
    with supervise(folder, "/bin/sh", "-c", script, time_limit=0.5, stop_grace=20) as process:
        process.communicate(timeout=30)
    assert result(folder) == {"code": 3, "signal": None}
    assert (folder / "log").read_text() == "begun\ncaught\n[stopped: it ran for more than 0.5 seconds]\n"


def test_one_that_ignores_that_is_killed(folder: Path) -> None:
    with supervise(folder, "/bin/sh", "-c", "trap '' TERM; sleep 60; sleep 60", time_limit=0.3) as process:
        process.communicate(timeout=30)
    assert result(folder) == {"code": None, "signal": 9}


def test_a_program_within_its_time_is_left_alone(folder: Path) -> None:
    with supervise(folder, "/bin/sh", "-c", "echo done", time_limit=3600) as process:
        process.communicate(timeout=30)
    assert result(folder) == {"code": 0, "signal": None}
    assert (folder / "log").read_text() == "done\n"


def test_a_log_that_has_grown_is_set_aside(folder: Path) -> None:
    (folder / "log").write_bytes(b"x" * ((4 << 20) + 1))
    (folder / "log.1").write_text("older")
    with supervise(folder, "/bin/echo", "new") as process:
        process.communicate(timeout=30)
    assert (folder / "log").read_text() == "new\n"
    assert (folder / "log.1").stat().st_size == (4 << 20) + 1


def test_directory_that_is_gone(folder: Path) -> None:
    with supervise(folder, "/bin/true", cwd="/no/such/place") as process:
        process.communicate(timeout=30)
    assert result(folder) == {"code": 127, "signal": None}
    assert "/no/such/place" in (folder / "log").read_text()


def test_no_scope_here_without_systemd() -> None:
    expected = os.geteuid() == 0 and Path("/run/systemd/system").is_dir()
    assert bool(systemd_scope()) is expected
