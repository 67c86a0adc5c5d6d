"""Programs in containers are signalled by their session; what is in no such container never is."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.host.containers.docker.executions import signal_session


@pytest.fixture
def leader() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    yield process
    process.kill()
    process.wait(10)


def test_another_control_group_is_left_alone(leader: "subprocess.Popen[bytes]") -> None:
    for container in ("", "c" * 64):
        assert not signal_session(leader.pid, container, signal.SIGKILL)
    assert leader.poll() is None


def test_those_of_the_session_and_the_group_are_signalled(leader: "subprocess.Popen[bytes]") -> None:
    """A control group of ours stands for a container's."""
    group = Path(f"/proc/{leader.pid}/cgroup").read_text().splitlines()[0]
    assert signal_session(leader.pid, group, None)
    assert not signal_session(os.getpid() + 10_000_000, group, signal.SIGKILL)
    assert leader.poll() is None
    assert signal_session(leader.pid, group, signal.SIGHUP)
    assert leader.wait(10) == -signal.SIGHUP
    assert not signal_session(leader.pid, group, None)
