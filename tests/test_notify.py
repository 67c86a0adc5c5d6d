"""What the service manager is told, over a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from appliance.notify import Notifier, Watchdog


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The service manager's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.setblocking(False)
        yield end


def received(manager: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(manager.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_states_arrive(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname())
    assert notifier.ready("serving\nREADY=0")
    assert notifier.status("draining")
    assert notifier.stopping()
    assert received(manager) == ["READY=1\nSTATUS=serving READY=0", "STATUS=draining", "STOPPING=1"]


def test_an_abstract_socket_is_reached() -> None:
    name = f"appliance-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(f"\0{name}")
        end.setblocking(False)
        assert Notifier(f"@{name}").ready()
        assert received(end) == ["READY=1"]


def test_without_a_service_manager_nothing_is_sent() -> None:
    assert Notifier.from_environment({}).ready() is False


def test_a_service_manager_that_is_gone_is_survived(tmp_path: Path) -> None:
    assert Notifier(str(tmp_path / "gone")).ready() is False


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_for_the_process_it_names(environment: dict[str, str], interval: float | None) -> None:
    assert Notifier.from_environment(environment).watchdog_interval == interval


def test_keep_alives_go_out_while_the_service_runs(manager: socket.socket) -> None:
    clock = Clock()
    watchdog = Watchdog(clock, Notifier(manager.getsockname(), 30.0))
    watchdog.startService()
    clock.pump([30.0, 30.0])
    assert received(manager) == ["WATCHDOG=1"] * 3
    watchdog.stopService()
    clock.advance(60.0)
    assert received(manager) == []
    assert clock.getDelayedCalls() == []


def test_no_keep_alives_where_none_are_asked_for(manager: socket.socket) -> None:
    clock = Clock()
    watchdog = Watchdog(clock, Notifier(manager.getsockname()))
    watchdog.startService()
    assert clock.getDelayedCalls() == []
    watchdog.stopService()
    assert received(manager) == []
