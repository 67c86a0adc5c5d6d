"""The program that undoes a change, by itself: when it acts, when it does not."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.host.network import undo
from appliance.host.network.netlink import Request
from tests.support.processes import wait_for

HARMLESS = [Request(17, bytes(16), 0)]  # to remove a link without name or number, which the kernel refuses


def plan(folder: Path, requests: list[Request]) -> None:
    (folder / undo.PLAN).write_bytes(undo.encode(requests))


@contextmanager
def program(folder: Path, seconds: float) -> Iterator["subprocess.Popen[str]"]:
    argv = [sys.executable, "-S", "-P", "-m", "appliance.host.network.undo", str(folder), str(seconds)]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def armed(folder: Path) -> None:
    wait_for((folder / undo.ARMED).exists, "the program to be armed")


def test_a_plan_comes_back_as_it_was(tmp_path: Path) -> None:
    requests = [Request(16, b"\x00\xff", 0x600), Request(21, b"", 0)]
    assert undo.decode(undo.encode(requests)) == requests


def test_a_plan_for_another_network_asks_for_nothing() -> None:
    content = json.loads(undo.encode(HARMLESS))
    assert undo.decode(json.dumps(content).encode()) == HARMLESS
    content["network"] = "another boot " + os.readlink("/proc/self/ns/net")
    assert undo.decode(json.dumps(content).encode()) == []


def test_there_is_one_decision(tmp_path: Path) -> None:
    assert undo.decided(tmp_path) == ""
    assert undo.decide(tmp_path, undo.CONFIRMED)
    assert not undo.decide(tmp_path, undo.UNDONE)
    assert undo.decided(tmp_path) == undo.CONFIRMED


def test_it_undoes_when_the_time_is_up(tmp_path: Path) -> None:
    plan(tmp_path, [])
    with program(tmp_path, 0.1) as process:
        assert process.wait(30) == 0
    assert undo.decided(tmp_path) == undo.UNDONE


def test_it_undoes_when_it_is_ended(tmp_path: Path) -> None:
    plan(tmp_path, [])
    with program(tmp_path, 600) as process:
        armed(tmp_path)
        os.kill(process.pid, signal.SIGHUP)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0
    assert undo.decided(tmp_path) == undo.UNDONE


@pytest.mark.parametrize("decision", [undo.CONFIRMED, undo.WITHDRAWN])
def test_it_leaves_alone_what_was_decided(tmp_path: Path, decision: str) -> None:
    plan(tmp_path, HARMLESS)
    with program(tmp_path, 600) as process:
        armed(tmp_path)
        assert undo.decide(tmp_path, decision)
        os.kill(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, "")
    assert undo.decided(tmp_path) == decision


def test_it_waits_for_a_change_that_is_being_made(tmp_path: Path) -> None:
    plan(tmp_path, [])
    with (tmp_path / undo.PLAN).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with program(tmp_path, 0) as process:
            armed(tmp_path)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.3)
            assert undo.decided(tmp_path) == ""
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert process.wait(30) == 0
    assert undo.decided(tmp_path) == undo.UNDONE


def test_it_tells_what_it_could_not_undo(tmp_path: Path) -> None:
    plan(tmp_path, HARMLESS)
    with program(tmp_path, 0) as process:
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 1
        assert errors.startswith("cannot undo: ")


def test_it_undoes_where_nothing_can_be_recorded(tmp_path: Path) -> None:
    plan(tmp_path, HARMLESS)
    with program(tmp_path, 600) as process:
        armed(tmp_path)
        for path in tmp_path.iterdir():
            path.unlink()
        tmp_path.rmdir()
        os.kill(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert "cannot record it" in errors
        assert "cannot undo" in errors
    tmp_path.mkdir()
