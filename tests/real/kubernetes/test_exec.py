"""/ws/kubernetes/pods/exec: programs in pods, on terminals, over the real WebSocket."""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.real.kubernetes.conftest import server_of
from tests.support.audit import audited
from tests.support.kubernetes.cluster import Cluster
from tests.support.kubernetes.double import Double
from tests.support.live_programs import begin, exit_of, output_until
from tests.support.live_socket import LiveSocket, live_socket
from tests.support.machine import SystemServer
from tests.support.processes import command_lines, memory_of, wait_for


@pytest.fixture(scope="module")
def box(any_cluster: Cluster) -> Iterator[str]:
    """A namespace with the pod `box`."""
    if not any_cluster.runs_pods:
        pytest.fail("programs in pods take a node: start the real cluster with one")
    namespace = f"exec-{secrets.token_hex(4)}"
    any_cluster.namespace(namespace)
    any_cluster.pod(namespace, "box")
    any_cluster.namespaces.remove(namespace)  # for longer than a test
    yield namespace
    any_cluster.request("DELETE", f"/api/v1/namespaces/{namespace}")


@pytest.fixture
def path(box: str) -> str:
    return f"/ws/kubernetes/pods/exec?pod=box&namespace={box}&container=main"


@pytest.fixture
def socket(server: SystemServer, path: str) -> Iterator[LiveSocket]:
    with live_socket(server, path) as socket:
        yield socket


def wait_for_size(size: str) -> str:
    """What a shell does until its terminal has that size, which it gets a moment after it has begun."""
    return f'until [ "$(stty size 2>/dev/null)" = "{size}" ]; do sleep 0.05; done'


def test_a_shell(socket: LiveSocket) -> None:
    socket.say("subscribe", payload={"channel": "container-exec", "cols": 101, "rows": 31})
    socket.say("input", payload={"data": f"echo gr''ün; {wait_for_size('31 101')}; echo $TERM; tty\n"})
    text = output_until(socket, "/dev/pts/")
    assert "grün\r\n" in text and "xterm-256color\r\n" in text
    socket.say("resize", payload={"cols": 51, "rows": 21}, id="r")
    answer = socket.hear_until(lambda message: message["type"] != "output")
    assert answer == {"type": "resize", "payload": {"success": True, "rows": 21, "cols": 51}, "id": "r"}
    socket.say("resize", cols=52, rows=22)
    socket.hear_until(lambda message: message["type"] == "resize")
    socket.say("input", data=f"{wait_for_size('22 52')}; exit 7\n")
    assert exit_of(socket) == {"code": 7, "signal": None}


def test_a_command_in_the_pods_only_container(server: SystemServer, box: str) -> None:
    with live_socket(server, f"/ws/kubernetes/pods/exec?pod=box&namespace={box}") as socket:
        socket.say(
            "subscribe",
            payload={"channel": "pod-exec", "command": "sh -c 'echo to-out; echo \"$1\" >&2; exit 3' sh 'a  b'"},
        )
        assert output_until(socket, "a  b\r\n") == "to-out\r\na  b\r\n"
        assert exit_of(socket) == {"code": 3, "signal": None}


def test_a_program_that_is_not_there(socket: LiveSocket) -> None:
    begin(socket, "/nosuch/program")
    assert "/nosuch/program" in output_until(socket, "not found")
    assert exit_of(socket)["code"] == 127


def test_much_is_typed_and_nothing_is_lost(socket: LiveSocket) -> None:
    begin(socket, "sh", "-c", "stty -echo; echo ready; busybox wc -c")
    output_until(socket, "ready")
    line = "x" * 99 + "\n"
    for _ in range(50):
        socket.say("input", payload={"data": line * 40})
    socket.say("input", payload={"data": "\x04"})
    assert output_until(socket, "\r\n").strip().endswith("200000")
    assert exit_of(socket)["code"] == 0


def test_a_client_that_does_not_read_holds_the_program_back(server: SystemServer, socket: LiveSocket) -> None:
    """Fifty megabytes for somebody who looks after a while: they wait where they are made, and all arrive."""
    size = 50 << 20
    before = memory_of(server.server.pid)
    begin(socket, "sh", "-c", f"yes {'a' * 62} | head -c {size} | busybox tee /tmp/wrote-k8s; echo end")
    output_until(socket, "a")
    (pid,) = wait_for(lambda: command_lines("busybox tee /tmp/wrote-k8s").keys() - command_lines("sh -c").keys(), "tee")
    wrote: list[int] = []

    def stands() -> bool:
        wrote.append(Path(f"/proc/{pid}/root/tmp/wrote-k8s").stat().st_size)
        time.sleep(0.02)
        return len(wrote) > 50 and len(set(wrote[-50:])) == 1

    wait_for(stands, "the program to stand")
    assert 0 < wrote[-1] < size
    assert memory_of(server.server.pid) - before < 8 << 20
    count = 0
    while (message := socket.hear())["type"] == "output":
        count += message["payload"]["data"].count("a")
    assert message == {"type": "exit", "payload": {"code": 0, "signal": None}}
    assert count > (size - (1 << 20)) * 62 // 63
    assert memory_of(server.server.pid) - before < 8 << 20


def test_the_program_and_its_children_end_with_the_socket(server: SystemServer, path: str) -> None:
    """Also what does not listen to a hang-up; the cluster itself lets programs run on."""
    mark = f"sleep 9876{secrets.randbelow(10**6)}"
    with live_socket(server, path) as socket:
        begin(socket, "sh", "-c", f"{mark} & trap '' HUP; echo begun; {mark}")
        output_until(socket, "begun")
        assert len(wait_for(lambda: {*command_lines(mark)} if len(command_lines(mark)) > 1 else (), "both")) > 1
    wait_for(lambda: not command_lines(mark), "the end of the program")


@pytest.fixture(scope="module")
def its_path(its_double: Double) -> Iterator[str]:
    """A pod in the double."""
    namespace = its_double.namespace(f"exec-{secrets.token_hex(4)}")
    its_double.pod(namespace, "box")
    yield f"/ws/kubernetes/pods/exec?pod=box&namespace={namespace}"
    its_double.clean()


def test_nothing_is_left_when_the_server_stops(its_server: SystemServer, its_path: str) -> None:
    with live_socket(its_server, its_path) as socket:
        begin(socket, "sh", "-c", "echo begun; sleep 9876543")
        output_until(socket, "begun")
        its_server.server.stop()
        try:
            assert not command_lines("sleep 9876543")
        finally:
            its_server.server.start()


def test_a_cluster_that_breaks_off(its_server: SystemServer, its_path: str, its_double: Double) -> None:
    with live_socket(its_server, its_path) as socket:
        begin(socket, "sh", "-c", "echo begun; sleep 9876542")
        output_until(socket, "begun")
        its_double.sever()
        assert socket.hear()["code"] == "KUBERNETES_ERROR"
        assert exit_of(socket) == {"code": None, "signal": None}
        wait_for(lambda: not command_lines("sleep 9876542"), "the end of the program")


def test_a_cluster_that_does_not_let_us(tmp_path: Path, its_path: str, its_double: Double) -> None:
    with server_of(its_double, tmp_path, "viewer") as server, live_socket(server, its_path) as socket:
        begin(socket, "sh")
        refusal = socket.hear()
        assert refusal["code"] == "PERMISSION_DENIED" and "pods/exec" in refusal["error"]


def test_who_is_refused(server: SystemServer, path: str) -> None:
    headers = {"Authorization": f"Bearer {server.tokens['reader']}"}
    with pytest.raises(InvalidStatus) as caught, live_socket(server, path, None, headers=headers):
        pass
    assert caught.value.response.status_code == 403
    with live_socket(server, path, None) as socket:
        begin(socket, "sh")
        assert socket.hear()["code"] == "UNAUTHORIZED"
        assert socket.log_in(server.tokens["reader"])["code"] == "PERMISSION_DENIED"
        assert socket.end() == 4403


def test_what_is_refused(server: SystemServer, box: str, path: str, cluster: Cluster) -> None:
    base = "/ws/kubernetes/pods/exec"
    for query in (
        "",
        "?pod=",
        "?pod=Box",
        "?pod=a%2fb",
        "?pod=box&namespace=..",
        "?pod=box&container=a%0a",
        "?pod=box%0a",
    ):
        with pytest.raises(InvalidStatus) as caught, live_socket(server, f"{base}{query}"):
            pass
        assert caught.value.response.status_code == 400, query
    wrong: list[dict[str, object]] = [
        {"cols": 0},
        {"command": []},
        {"command": "'"},
        {"command": ["sh", "a\0b"]},
        {"command": ["sh", *["x" * 4000] * 10]},
        {"user": "root"},
        {"channel": "x"},
    ]
    with live_socket(server, path) as socket:
        for payload in wrong:
            socket.say("subscribe", payload=payload)
            assert socket.hear()["code"] == "INVALID_INPUT", payload
        for kind, fields in (("input", {"data": "x"}), ("resize", {"cols": 1, "rows": 1}), ("unsubscribe", {})):
            socket.say(kind, **fields)
            assert socket.hear()["code"] == "CONFLICT"
        begin(socket, "sh")
        begin(socket, "sh")
        assert socket.hear_until(lambda message: message["type"] == "error")["code"] == "CONFLICT"
        socket.say("unsubscribe")
        assert socket.end() == 1000
    two = [{"name": name, "image": "bb:1", "command": ["sleep", "1000"]} for name in ("one", "two")]
    cluster.pod(box, "two", containers=two)
    cluster.pod(box, "done", "true", restartPolicy="Never")
    cluster.wait_for(f"/api/v1/namespaces/{box}/pods/done", lambda pod: pod["status"]["phase"] == "Succeeded")
    for query, code, words in (
        (f"pod=nosuch&namespace={box}", "NOT_FOUND", 'pods "nosuch" not found'),
        (f"pod=box&namespace={box}&container=nosuch", "INVALID_INPUT", "container nosuch is not valid for pod box"),
        (f"pod=two&namespace={box}", "INVALID_INPUT", "one two"),
        (f"pod=done&namespace={box}", "CONFLICT", "container not found"),
    ):
        with live_socket(server, f"{base}?{query}") as socket:
            begin(socket, "sh")
            answer = socket.hear()
            assert answer["code"] == code and words in answer["error"], answer
            begin(socket, "sh")  # the socket is kept
            assert socket.hear()["code"] == code


def test_beginning_and_end_are_audited_and_what_is_typed_is_not(
    server: SystemServer, socket: LiveSocket, box: str
) -> None:
    begin(socket, "sh")
    socket.say("input", payload={"data": "echo hush''-hush; exit\n"})
    output_until(socket, "hush-hush")
    exit_of(socket)
    state = server.server.state

    def both() -> list[Any]:
        entries = [*audited(state, "kubernetes.exec.start"), *audited(state, "kubernetes.exec.end")]
        return [entry[:4] for entry in entries if entry[2] == f"{box}/box" and entry[3] == "success"][-2:]

    wait_for(lambda: len(both()) == 2, "the audit log")
    assert both()[0][1:3] == ("admin", f"{box}/box")
    stored = b"".join(each.read_bytes() for each in state.glob("appliance.db*"))
    assert b"hush-hush" not in stored and b"hush" not in server.server.log.read_bytes()
