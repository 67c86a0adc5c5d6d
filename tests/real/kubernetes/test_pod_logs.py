"""Logs of pods: whole, in part, followed, and with a client that goes or does not read."""

import time

import pytest

from tests.support.kubernetes.cluster import Cluster
from tests.support.kubernetes.double import Double
from tests.support.kubernetes.names import namespace_of
from tests.support.machine import SystemServer
from tests.support.processes import memory_of, wait_for
from tests.support.streaming import following

LONG = 20 << 20
"""Bytes of the long log."""


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A namespace in a cluster with a node."""
    assert cluster.runs_pods, "this cluster has no node: nothing writes a log in it"
    return namespace_of(cluster, "logs")


def run(cluster: Cluster, namespace: str, script: str, name: str = "p") -> None:
    """Run a script to its end in a pod."""
    cluster.pod(namespace, name, "/bin/sh", "-c", script, restartPolicy="Never")
    path = f"/api/v1/namespaces/{namespace}/pods/{name}"
    cluster.wait_for(path, lambda pod: pod["status"]["phase"] in ("Succeeded", "Failed"))


def test_all_of_it_and_some(server: SystemServer, cluster: Cluster, namespace: str) -> None:
    run(cluster, namespace, "echo one; printf 'gr\\303\\274n\\n' >&2; sleep 0.2; echo three")
    path = f"/kubernetes/pods/{namespace}/p/logs"
    found = server.data(path, who="reader")
    assert sorted(found["logs"].splitlines()) == ["grün", "one", "three"]
    assert (found["pod"], found["namespace"], found["truncated"]) == ("p", namespace, False)
    assert server.data(f"{path}?lines=1")["logs"] == "three\n"
    assert server.data(f"{path}?lines=0")["logs"] == ""
    assert server.data(f"{path}?lines=all&container=main")["logs"] == found["logs"]
    stamped = server.data(f"{path}?timestamps=true")["logs"].splitlines()
    assert [line.partition(" ")[2] for line in stamped] == found["logs"].splitlines()
    assert server.data(f"{path}?since=-1h")["logs"] == found["logs"]
    assert server.data(f"{path}?since=2999-01-01T00:00:00Z")["logs"] == ""
    answer = server.api("GET", f"{path}?stream=true")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.body.decode() == found["logs"]


def test_what_is_not_there(server: SystemServer, cluster: Cluster, namespace: str) -> None:
    both = [{"name": name, "image": "bb:1", "command": ["/bin/sh", "-c", f"echo {name}; sleep 100"]} for name in "ab"]
    cluster.pod(namespace, "two", containers=both)
    path = f"/kubernetes/pods/{namespace}"
    assert server.api("GET", f"{path}/none/logs").status == 404
    for query in ("", "?container=c", "?follow=true"):
        answer = server.api("GET", f"{path}/two/logs{query}")
        assert (answer.status, answer.json["error"]["code"]) == (422, "INVALID_INPUT"), answer
    wait_for(lambda: server.data(f"{path}/two/logs?container=b")["logs"] == "b\n", "the log of the second container")
    (row,) = server.data(path)["pods"]
    assert (row["status"], row["ready"], row["containers"]) == ("Running", "2/2", ["a", "b"])


def test_a_pod_that_fails_again_and_again(server: SystemServer, cluster: Cluster, namespace: str) -> None:
    cluster.pod(namespace, "p", "/bin/sh", "-c", "echo once; exit 3", running=False)

    def row() -> tuple[str, int]:
        (found,) = server.data(f"/kubernetes/pods/{namespace}")["pods"]
        return found["status"], found["restarts"]

    wait_for(lambda: row()[0] == "CrashLoopBackOff" and row()[1] > 0, "the state of a pod that fails")
    assert server.data(f"/kubernetes/pods/{namespace}/p/logs?previous=true")["logs"].endswith("once\n")


def test_what_is_written_meanwhile_is_followed(server: SystemServer, cluster: Cluster, namespace: str) -> None:
    cluster.pod(namespace, "p", "/bin/sh", "-c", "echo one; sleep 0.5; echo two; sleep 0.5", restartPolicy="Never")
    answer = server.api("GET", f"/kubernetes/pods/{namespace}/p/logs?follow=true", who="reader")
    assert answer.body == b"one\ntwo\n"


def test_a_client_that_goes_ends_what_it_followed(server: SystemServer, cluster: Cluster, namespace: str) -> None:
    cluster.pod(namespace, "ticks", "/bin/sh", "-c", "while :; do echo tick; sleep 0.05; done")
    cluster.pod(namespace, "silent", "/bin/sleep", "1000")
    with following(server, f"/kubernetes/pods/{namespace}/ticks/logs?follow=true") as output:
        assert output.read(10) == b"tick\ntick\n"
    if not isinstance(cluster, Double):
        return  # a real one does not tell how many read
    wait_for(lambda: not cluster.state()["open"].get("log"), "the end of the stream")
    with following(server, f"/kubernetes/pods/{namespace}/silent/logs?follow=true"):
        wait_for(lambda: cluster.state()["open"].get("log") == 1, "the beginning of the silent stream")
    wait_for(lambda: not cluster.state()["open"].get("log"), "the end of the silent stream")


def test_a_long_one(server: SystemServer, cluster: Cluster, namespace: str) -> None:
    """Its end fits into an answer; all of it is streamed with flat memory to a client that does not read at first."""
    run(cluster, namespace, f"yes {'a' * 999} | head -c {LONG}")
    path = f"/kubernetes/pods/{namespace}/p/logs"
    found = server.data(f"{path}?lines=5000")
    assert found["truncated"] is True and 1_900_000 < len(found["logs"]) <= 2 << 20
    before = memory_of(server.server.pid)
    with following(server, f"{path}?lines=all&stream=true") as output:
        time.sleep(1)
        assert memory_of(server.server.pid) - before < LONG // 4
        size = 0
        while data := output.read(1 << 16):
            size += len(data)
            assert not data.strip(b"a\n")
        assert memory_of(server.server.pid) - before < LONG // 4
    assert size == LONG
