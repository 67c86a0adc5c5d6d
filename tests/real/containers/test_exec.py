"""/ws/containers/exec: programs in containers, on terminals, over the real WebSocket."""

import os
from collections.abc import Iterator
from functools import partial

import pytest
from websockets.exceptions import InvalidStatus

from tests.support.engines import Engine
from tests.support.live_programs import begin, exit_of, output_until
from tests.support.live_socket import LiveSocket, live_socket
from tests.support.machine import SystemServer
from tests.support.processes import command_lines, memory_of, wait_for

PATH = "/ws/containers/exec?container=box"


@pytest.fixture
def box(engine: Engine) -> str:
    return engine.make("box", "/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")


@pytest.fixture
def socket(server: SystemServer, box: str) -> Iterator[LiveSocket]:
    with live_socket(server, PATH) as socket:
        yield socket


def wait_for_size(size: str) -> str:
    """What a shell does until its terminal has that size, which an engine may give it only after it has said so."""
    return f'until [ "$(stty size)" = "{size}" ]; do sleep 0.05; done'


def two_of(words: str) -> bool:
    return len(command_lines(words)) >= 2


def none_of(words: str) -> bool:
    return not command_lines(words)


def test_a_shell(socket: LiveSocket) -> None:
    socket.say("subscribe", payload={"channel": "container-exec", "cols": 101, "rows": 31})
    output_until(socket, "# ")
    socket.say("input", payload={"data": f"echo gr''ün; {wait_for_size('31 101')}; tty\n"})
    assert "grün\r\n" in output_until(socket, "/dev/pts/")
    socket.say("resize", payload={"cols": 51, "rows": 21}, id="r")
    answer = socket.hear_until(lambda message: message["type"] != "output")
    assert answer == {"type": "resize", "payload": {"success": True, "rows": 21, "cols": 51}, "id": "r"}
    socket.say("resize", cols=52, rows=22)
    socket.hear_until(lambda message: message["type"] == "resize")
    socket.say("input", data=f"{wait_for_size('22 52')}; exit 7\n")
    assert exit_of(socket) == {"code": 7, "signal": None}


def test_a_command(socket: LiveSocket) -> None:
    begin(socket, "/bin/sh", "-c", "echo to-out; echo to-err >&2; id -u; false")
    assert output_until(socket, "0\r\n") == "to-out\r\nto-err\r\n0\r\n"
    assert exit_of(socket)["code"] == 1


def test_a_command_as_another_user_and_as_a_line(socket: LiveSocket) -> None:
    socket.say("subscribe", payload={"command": "/bin/sh -c 'id -u'", "user": "1234"})
    assert output_until(socket, "\n") == "1234\r\n"
    assert exit_of(socket)["code"] == 0


def test_a_program_that_is_not_there(socket: LiveSocket) -> None:
    begin(socket, "/nosuch/program")
    text = ""
    while (message := socket.hear())["type"] == "output":
        text += message["payload"]["data"]
    if message["type"] == "error":  # an engine may know before there is a terminal
        assert "/nosuch/program" in message["error"]
    else:
        assert message["payload"]["code"] in (126, 127) and "/nosuch/program" in text


def test_much_is_typed_and_nothing_is_lost(socket: LiveSocket) -> None:
    begin(socket, "/bin/sh", "-c", "stty -echo; echo ready; busybox wc -c")
    output_until(socket, "ready")
    line = "x" * 99 + "\n"
    for _ in range(50):
        socket.say("input", payload={"data": line * 40})
    socket.say("input", payload={"data": "\x04"})
    assert output_until(socket, "\r\n").strip().endswith("200000")
    assert exit_of(socket)["code"] == 0


def test_a_client_that_does_not_read_holds_the_program_back(server: SystemServer, socket: LiveSocket) -> None:
    """It comes to a stand as long as nothing is read; then all that it prints arrives."""
    before = memory_of(server.server.pid)
    size = 12 << 20
    tee = f"busybox tee /tmp/wrote{os.getpid()}"
    begin(socket, "/bin/sh", "-c", f"yes aaaaaaa | head -c {size} | {tee}; echo end")
    output_until(socket, "a")
    (pid,) = wait_for(lambda: command_lines(tee).keys() - command_lines("/bin/sh").keys(), "tee")
    wrote: list[int] = []

    def stands() -> bool:
        wrote.append(os.stat(f"/proc/{pid}/root/tmp/wrote{os.getpid()}").st_size)
        return len(wrote) > 50 and len(set(wrote[-50:])) == 1

    wait_for(stands, "the program to stand")
    assert 0 < wrote[-1] < size // 2
    assert memory_of(server.server.pid) - before < size // 2
    count = 0
    while (message := socket.hear())["type"] == "output":
        count += message["payload"]["data"].count("a")
    assert count > (size - wrote[-1]) * 7 // 8 and message["type"] == "exit"


def test_the_program_and_its_children_end_with_the_socket(server: SystemServer, box: str) -> None:
    for stubborn in ("", "trap '' HUP; "):
        mark = f"sleep {os.getpid()}0{len(stubborn):02}"  # other suites may run on this machine
        with live_socket(server, PATH) as socket:
            begin(socket, "/bin/sh", "-c", f"{stubborn}{mark} & echo begun; {mark}")
            output_until(socket, "begun")
            wait_for(partial(two_of, mark), "the program")
        wait_for(partial(none_of, mark), "the end of the program")


def test_nothing_is_left_when_the_server_stops(server: SystemServer, box: str) -> None:
    with live_socket(server, PATH) as socket:
        mark = f"sleep {os.getpid()}001"
        begin(socket, "/bin/sh", "-c", f"echo begun; {mark}")
        output_until(socket, "begun")
        try:
            server.server.stop()
            assert none_of(mark)
        finally:
            server.server.start()


def test_what_is_refused(server: SystemServer, box: str, engine: Engine) -> None:
    headers = {"Authorization": f"Bearer {server.tokens['reader']}"}
    with pytest.raises(InvalidStatus) as caught, live_socket(server, PATH, None, headers=headers):
        pass
    assert caught.value.response.status_code == 403
    with live_socket(server, PATH, None) as socket:
        assert socket.log_in(server.tokens["reader"])["code"] == "PERMISSION_DENIED"
        assert socket.end() == 4403
    for query in ("", "?container=", "?container=-x", "?container=a%2fb", "?container=box%0a"):
        with pytest.raises(InvalidStatus) as caught, live_socket(server, f"/ws/containers/exec{query}"):
            pass
        assert caught.value.response.status_code == 400
    with live_socket(server, PATH) as socket:
        wrong: list[dict[str, object]] = [
            {"cols": 0},
            {"command": []},
            {"command": "'"},
            {"command": ["/bin/sh", "a\0b"]},
            {"user": "a b"},
            {"user": "root\n"},
            {"channel": "x"},
        ]
        for payload in wrong:
            socket.say("subscribe", payload=payload)
            assert socket.hear()["code"] == "INVALID_INPUT", payload
        for kind, fields in (("input", {"data": "x"}), ("resize", {"cols": 1, "rows": 1}), ("unsubscribe", {})):
            socket.say(kind, **fields)
            assert socket.hear()["code"] == "CONFLICT"
        begin(socket, "/bin/sh")
        output_until(socket, "# ")
        begin(socket, "/bin/sh")
        assert socket.hear_until(lambda message: message["type"] == "error")["code"] == "CONFLICT"
        socket.say("unsubscribe")
        assert socket.end() == 1000
    rests = engine.make("rests", "/bin/true", start=False)
    for container, code in (("nosuch", "NOT_FOUND"), (rests, "CONFLICT")):
        with live_socket(server, f"/ws/containers/exec?container={container}") as socket:
            begin(socket, "/bin/sh")
            assert socket.hear()["code"] == code
    with live_socket(server, f"{PATH}&runtime=crio") as socket:
        begin(socket, "/bin/sh")
        assert socket.hear()["code"] == "INVALID_INPUT"


def test_beginning_and_end_are_audited_and_what_is_typed_is_not(server: SystemServer, socket: LiveSocket) -> None:
    begin(socket, "/bin/sh")
    output_until(socket, "# ")
    socket.say("input", payload={"data": "echo hush''-hush; exit\n"})
    output_until(socket, "hush-hush")
    exit_of(socket)

    def stored() -> bytes:
        return b"".join(path.read_bytes() for path in server.server.state.glob("appliance.db*"))

    wait_for(lambda: b"container.exec.start" in stored() and b"container.exec.end" in stored(), "the audit log")
    assert b"hush" not in stored() and b"hush" not in server.server.log.read_bytes()
