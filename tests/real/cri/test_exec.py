"""/ws/containers/exec into containers of the real containerd: programs on terminals, streamed by containerd itself."""

import os
from collections.abc import Iterator
from functools import partial

import pytest

from tests.support.containerd import Containerd
from tests.support.live_programs import begin, exit_of, output_until
from tests.support.live_socket import LiveSocket, live_socket
from tests.support.machine import SystemServer
from tests.support.processes import command_lines, wait_for

PATH = "/ws/containers/exec?container=box"


@pytest.fixture
def box(runtime: Containerd) -> str:
    return runtime.make("box", "/bin/sleep", "1000")


@pytest.fixture
def socket(server: SystemServer, box: str) -> Iterator[LiveSocket]:
    with live_socket(server, PATH) as socket:
        yield socket


def some_of(words: str) -> bool:
    return bool(command_lines(words))


def none_of(words: str) -> bool:
    return not command_lines(words)


def test_a_shell(socket: LiveSocket) -> None:
    def wait_for_size(size: str) -> str:
        return f'until [ "$(stty size)" = "{size}" ]; do busybox usleep 50000; done'

    socket.say("subscribe", payload={"channel": "container-exec", "cols": 101, "rows": 31})
    output_until(socket, "# ")
    socket.say("input", payload={"data": f"echo gr''ün; {wait_for_size('31 101')}; tty\n"})
    assert "grün\r\n" in output_until(socket, "/dev/pts/")
    socket.say("resize", payload={"cols": 51, "rows": 21}, id="r")
    answer = socket.hear_until(lambda message: message["type"] != "output")
    assert answer == {"type": "resize", "payload": {"success": True, "rows": 21, "cols": 51}, "id": "r"}
    socket.say("input", data=f"{wait_for_size('21 51')}; exit 7\n")
    assert exit_of(socket) == {"code": 7, "signal": None}


def test_a_command(socket: LiveSocket) -> None:
    begin(socket, "/bin/sh", "-c", "echo to-out; echo to-err >&2; id -u; false")
    assert output_until(socket, "0\r\n") == "to-out\r\nto-err\r\n0\r\n"
    assert exit_of(socket)["code"] == 1


def test_much_is_typed_and_nothing_is_lost(socket: LiveSocket) -> None:
    begin(socket, "/bin/sh", "-c", "stty -echo; echo ready; busybox wc -c")
    output_until(socket, "ready")
    for _ in range(50):
        socket.say("input", payload={"data": f"{'x' * 99}\n" * 40})
    socket.say("input", payload={"data": "\x04"})
    assert output_until(socket, "\r\n").strip().endswith("200000")
    assert exit_of(socket)["code"] == 0


def test_the_program_ends_with_the_socket(server: SystemServer, box: str) -> None:
    mark = f"sleep {os.getpid()}000"  # other suites may run on this machine
    with live_socket(server, PATH) as socket:
        begin(socket, "/bin/sh", "-c", f"{mark} & echo begun; {mark}")
        output_until(socket, "begun")
        wait_for(partial(some_of, mark), "the program")
    wait_for(partial(none_of, mark), "the end of the program")


def test_nothing_is_left_when_the_server_stops(server: SystemServer, box: str) -> None:
    mark = f"sleep {os.getpid()}001"
    with live_socket(server, PATH) as socket:
        begin(socket, "/bin/sh", "-c", f"echo begun; {mark}")
        output_until(socket, "begun")
        try:
            server.server.stop()
            assert none_of(mark), command_lines(mark)
        finally:
            server.server.start()


def test_what_is_refused(server: SystemServer, runtime: Containerd, box: str) -> None:
    rests = runtime.make("rests", "/bin/true", start=False)
    for container, command, options, code in (
        ("nosuch", "/bin/sh", {}, "NOT_FOUND"),
        (rests, "/bin/sh", {}, "CONFLICT"),
        (box, "/bin/sh", {"user": "1234"}, "INVALID_INPUT"),
    ):
        with live_socket(server, f"/ws/containers/exec?container={container}") as socket:
            begin(socket, command, **options)
            assert socket.hear()["code"] == code
    with live_socket(server, PATH) as socket:
        begin(socket, "/nosuch/program")
        message = socket.hear_until(lambda message: message["type"] in ("error", "exit"))
        assert message["type"] == "exit" and message["payload"]["code"] in (126, 127)
