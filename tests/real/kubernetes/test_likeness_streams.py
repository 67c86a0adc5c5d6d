"""The double streams as a real API server does: watches, logs and programs; both are asked the same."""

import contextlib
import json
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.kubernetes.cluster import Cluster, Query
from tests.support.kubernetes.programs import SUBPROTOCOL, program

SECONDS = 60
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": SUBPROTOCOL,
}


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A namespace of this test alone."""
    return cluster.namespace(f"streams-{uuid.uuid4().hex[:8]}")


@contextlib.contextmanager
def opened(cluster: Cluster, path: str, query: Query) -> Iterator[Any]:
    """An answer that is read piece by piece."""
    with contextlib.closing(cluster.connect(SECONDS)) as connection:
        connection.request("GET", f"{path}?{urlencode(query)}", headers=cluster.headers("admin"))
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        yield answer


def apply_map(cluster: Cluster, namespace: str, name: str, **labels: str) -> Any:
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}
    return cluster.must(cluster.apply(f"/api/v1/namespaces/{namespace}/configmaps/{name}", document))


def told(answer: Any) -> tuple[str, Any]:
    """The next event of a watch: its type and its object."""
    event = json.loads(answer.readline())
    return event["type"], event["object"]


def named(answer: Any) -> tuple[str, str, str]:
    kind, found = told(answer)
    return kind, found["metadata"]["name"], found["metadata"]["resourceVersion"]


def test_a_watch_goes_on_where_a_list_ended(cluster: Cluster, namespace: str) -> None:
    """All that happened since, each with the version that a further watch may begin at."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    apply_map(cluster, namespace, "before", mine="1")
    begin = cluster.must(cluster.request("GET", path))["metadata"]["resourceVersion"]
    query = {"watch": "1", "resourceVersion": begin, "labelSelector": "mine"}
    with opened(cluster, path, query) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        made = apply_map(cluster, namespace, "c1", mine="1")
        assert named(answer) == ("ADDED", "c1", made["metadata"]["resourceVersion"])
        changed = apply_map(cluster, namespace, "c1", mine="2")
        assert named(answer) == ("MODIFIED", "c1", changed["metadata"]["resourceVersion"])
        cluster.must(cluster.request("DELETE", f"{path}/c1"))
        kind, name, version = named(answer)
        assert (kind, name) == ("DELETED", "c1") and int(version) > int(changed["metadata"]["resourceVersion"])
    with opened(cluster, path, {**query, "resourceVersion": changed["metadata"]["resourceVersion"]}) as answer:
        assert named(answer) == ("DELETED", "c1", version)


def test_an_object_that_leaves_a_selection_is_deleted_for_who_has_made_it(cluster: Cluster, namespace: str) -> None:
    """And added when it comes in."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    begin = cluster.must(cluster.request("GET", path))["metadata"]["resourceVersion"]
    with opened(cluster, path, {"watch": "1", "resourceVersion": begin, "labelSelector": "color=red"}) as answer:
        apply_map(cluster, namespace, "c1", color="blue")
        apply_map(cluster, namespace, "c1", color="red")
        assert named(answer)[:2] == ("ADDED", "c1")
        apply_map(cluster, namespace, "c1", color="blue")
        assert named(answer)[:2] == ("DELETED", "c1")


def test_a_watch_from_nowhere_tells_first_what_there_is(cluster: Cluster, namespace: str) -> None:
    """Without a version."""
    apply_map(cluster, namespace, "c1", mine="1")
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    with opened(cluster, path, {"watch": "true", "labelSelector": "mine"}) as answer:
        kind, found = told(answer)
        assert kind == "ADDED" and found["metadata"]["name"] == "c1"
        assert found["kind"] == "ConfigMap" and found["apiVersion"] == "v1"


def test_a_watch_ends_with_its_time(cluster: Cluster, namespace: str) -> None:
    """After a bookmark, where those are wanted and anything of the kind has changed."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    begin = cluster.must(cluster.request("GET", path))["metadata"]["resourceVersion"]
    query = {"watch": "1", "resourceVersion": begin, "timeoutSeconds": "4", "labelSelector": "mine"}
    with opened(cluster, path, {**query, "allowWatchBookmarks": "true"}) as answer:
        changed = apply_map(cluster, namespace, "another")
        events = [json.loads(line) for line in answer.read().splitlines()]
    assert {each["type"] for each in events} == {"BOOKMARK"}
    for each in events:
        assert each["object"]["kind"] == "ConfigMap" and each["object"]["apiVersion"] == "v1"
        assert int(each["object"]["metadata"]["resourceVersion"]) >= int(changed["metadata"]["resourceVersion"])


def test_what_is_forgotten_has_expired(its_double: Any) -> None:
    """The answers that a real server gives when etcd has compacted; a real one is not asked to."""
    cluster = its_double
    namespace = cluster.namespace("forgotten")
    for number in range(3):
        apply_map(cluster, namespace, f"c{number}")
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    page = cluster.must(cluster.request("GET", path, query={"limit": "1"}))["metadata"]
    cluster.compact()
    with opened(cluster, path, {"watch": "1", "resourceVersion": page["resourceVersion"]}) as answer:
        kind, status = told(answer)
        assert kind == "ERROR" and status["kind"] == "Status" and status["status"] == "Failure"
        assert status["code"] == 410 and status["reason"] in ("Expired", "Gone")
        assert answer.read() == b""
    refused = cluster.request("GET", path, query={"limit": "1", "continue": page["continue"]})
    assert refused.status == 410 and refused.json["reason"] == "Expired" and refused.json["code"] == 410
    again = refused.json["metadata"]["continue"]
    rest = cluster.must(cluster.request("GET", path, query={"continue": again}))
    assert [each["metadata"]["name"] for each in rest["items"]] == ["c1", "c2"]


TALKING = "echo one; echo two >&2; echo three; sleep 1000"


def test_logs(cluster: Cluster, namespace: str) -> None:
    """Whole and in parts."""
    cluster.pod(namespace, "p1", "sh", "-c", TALKING)
    path = f"/api/v1/namespaces/{namespace}/pods/p1/log"

    def log(**query: str) -> bytes:
        reply = cluster.request("GET", path, query=query)
        assert reply.status == 200 and reply.content_type == "text/plain", reply
        return reply.body

    with opened(cluster, path, {"follow": "1"}) as answer:  # until all has been said
        assert sorted(answer.readline() for _ in range(3)) == [b"one\n", b"three\n", b"two\n"]
    assert sorted(log().split()) == [b"one", b"three", b"two"]
    assert sorted(log(container="main").split()) == [b"one", b"three", b"two"]
    assert len(log(tailLines="2").splitlines()) == 2
    assert log(tailLines="0") == b""
    assert len(log(limitBytes="5")) == 5
    assert len(log(sinceSeconds="3600").splitlines()) == 3
    stamps = [line.split(b" ") for line in log(timestamps="true").splitlines()]
    assert all(len(each) == 2 and each[0].endswith(b"Z") and each[0][10:11] == b"T" for each in stamps)
    wrong = cluster.request("GET", path, query={"previous": "true"})
    assert wrong.status == 400
    assert wrong.json["message"] == 'previous terminated container "main" in pod "p1" not found'


def test_a_log_is_followed_to_its_end(cluster: Cluster, namespace: str) -> None:
    """As it grows, until the container ends."""
    script = "for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done"
    cluster.pod(namespace, "p1", "sh", "-c", script, restartPolicy="Never")
    path = f"/api/v1/namespaces/{namespace}/pods/p1"
    with opened(cluster, f"{path}/log", {"follow": "true"}) as answer:
        assert answer.read() == b"".join(b"line %d\n" % number for number in range(1, 6))
    pod = cluster.wait_for(path, lambda pod: pod["status"]["phase"] == "Succeeded")
    (container,) = pod["status"]["containerStatuses"]
    assert container["state"]["terminated"]["exitCode"] == 0 and container["ready"] is False


def test_logs_of_several_containers_and_of_none(cluster: Cluster, namespace: str) -> None:
    """One must be named; one that cannot start has none."""
    both = [{"name": name, "image": "bb:1", "command": ["sh", "-c", f"echo {name}; sleep 1000"]} for name in "ab"]
    cluster.pod(namespace, "two", containers=both)
    unknown = [{"name": "main", "image": "127.0.0.1:1/nope:1", "imagePullPolicy": "IfNotPresent"}]
    cluster.pod(namespace, "none", containers=unknown, running=False)
    path = f"/api/v1/namespaces/{namespace}/pods"
    wrong = cluster.request("GET", f"{path}/two/log")
    assert wrong.status == 400 and wrong.json["reason"] == "BadRequest"
    assert wrong.json["message"] == "a container name must be specified for pod two, choose one of: [a b]"
    with opened(cluster, f"{path}/two/log", {"container": "b", "follow": "1"}) as answer:
        assert answer.readline() == b"b\n"
    wrong = cluster.request("GET", f"{path}/two/log", query={"container": "c"})
    assert wrong.status == 400 and wrong.json["message"] == "container c is not valid for pod two"

    def waits(pod: Any) -> object:
        states = [each["state"].get("waiting", {}) for each in pod["status"].get("containerStatuses", [])]
        return [each for each in states if each.get("reason") in ("ErrImagePull", "ImagePullBackOff")]

    pod = cluster.wait_for(f"{path}/none", waits)
    assert pod["status"]["phase"] == "Pending" and pod["status"]["containerStatuses"][0]["ready"] is False
    wrong = cluster.request("GET", f"{path}/none/log")
    assert wrong.status == 400
    assert wrong.json["message"].startswith('container "main" in pod "none" is waiting to start: ')


def test_a_running_pod(cluster: Cluster, namespace: str) -> None:
    """What its status says, and how it goes."""
    pod = cluster.pod(namespace, "p1", "sh", "-c", "sleep 1000")
    path = f"/api/v1/namespaces/{namespace}/pods/p1"
    pod = cluster.wait_for(path, lambda pod: pod["status"]["containerStatuses"][0]["ready"])
    assert set(pod["status"]) == {
        "phase", "conditions", "hostIP", "podIP", "podIPs", "startTime", "containerStatuses", "qosClass",
    }  # fmt: skip
    assert {(each["type"], each["status"]) for each in pod["status"]["conditions"]} == {
        (kind, "True") for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    }
    (container,) = pod["status"]["containerStatuses"]
    assert set(container) == {
        "name", "state", "lastState", "ready", "restartCount", "image", "imageID", "containerID", "started",
    }  # fmt: skip
    assert set(container["state"]["running"]) == {"startedAt"} and container["image"] == "docker.io/library/bb:1"
    ended = cluster.must(cluster.request("DELETE", path))
    assert ended["kind"] == "Pod" and ended["metadata"]["deletionGracePeriodSeconds"] == 1
    cluster.wait_until_gone(path)


BOTH = {"stdout": "1", "stderr": "1"}
SUCCESS = {"metadata": {}, "status": "Success"}


def test_programs(cluster: Cluster, namespace: str) -> None:
    """Their channels and their ends."""
    cluster.pod(namespace, "p1", "sleep", "1000")
    with program(cluster, namespace, "p1", "sh", "-c", "echo out; echo err >&2", **BOTH) as running:
        assert running.end() == SUCCESS
        assert running.messages[0] == (1, 0), "the first message says only that it is open"
        assert running.heard[1] == b"out\n" and running.heard[2] == b"err\n"
    with program(cluster, namespace, "p1", "sh", "-c", "exit 3", **BOTH) as running:
        how = "error executing command [sh -c exit 3], exit code 3"
        assert running.end() == {
            "metadata": {},
            "status": "Failure",
            "message": f"command terminated with non-zero exit code: {how}",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
        }
    with program(cluster, namespace, "p1", "sh", "-c", "kill -9 $$", **BOTH) as running:
        assert running.end()["details"] == {"causes": [{"reason": "ExitCode", "message": "137"}]}
    with program(cluster, namespace, "p1", "nope-nope", **BOTH) as running:
        status = running.end()
        assert (status["reason"], status["code"]) == ("InternalError", 500)
        assert status["message"].endswith('exec: "nope-nope": executable file not found in $PATH: unknown')
    with program(cluster, namespace, "p1", "cat", stdin="1", stdout="1") as running:
        running.send(0, b"\x00\xffhello")
        running.until(1, b"\x00\xffhello")


def test_a_program_on_a_terminal(cluster: Cluster, namespace: str) -> None:
    """Its size, its input, its end; it lives on when nobody looks any more."""
    cluster.pod(namespace, "p1", "sleep", "1000")
    terminal = {"stdin": "1", "stdout": "1", "tty": "1"}
    with program(cluster, namespace, "p1", "sh", **terminal) as running:
        running.send(4, b'{"Width":70,"Height":20}')
        running.send(0, b"stty size; echo $TERM\n")
        running.until(1, b"20 70\r\nxterm\r\n")
        running.send(4, b'{"Width":71,"Height":21}')
        running.send(0, b"stty size\n")
        running.until(1, b"21 71\r\n")
        running.send(0, b"exit 4\n")
        assert running.end()["details"]["causes"] == [{"reason": "ExitCode", "message": "4"}]
        assert 2 not in running.heard
    mark = f"/tmp/{namespace}"
    with program(cluster, namespace, "p1", "sh", "-c", f"sleep 1; echo > {mark}", **terminal) as running:
        running.take()
    look = f"while ! [ -e {mark} ]; do sleep 0.1; done; rm {mark}"
    with program(cluster, namespace, "p1", "sh", "-c", look, **BOTH) as running:
        assert running.end() == SUCCESS


def test_programs_that_are_not_started(cluster: Cluster, namespace: str) -> None:
    """Refused before the upgrade."""
    both = [{"name": name, "image": "bb:1", "command": ["sleep", "1000"]} for name in "ab"]
    cluster.pod(namespace, "two", containers=both)
    absent = [{"name": "main", "image": "127.0.0.1:1/nope:1", "imagePullPolicy": "IfNotPresent"}]
    cluster.pod(namespace, "none", containers=absent, running=False)
    path = f"/api/v1/namespaces/{namespace}/pods/none"
    cluster.wait_for(path, lambda pod: pod["status"].get("containerStatuses"))

    def refusal(pod: str, **query: str) -> tuple[int, str, str]:
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/exec?{urlencode({'command': 'ls', **query})}"
        with contextlib.closing(cluster.connect(SECONDS)) as connection:
            connection.request("GET", path, headers={**UPGRADE, **cluster.headers("admin")})
            answer = connection.getresponse()
            body = answer.read().decode()
        is_json = answer.headers["Content-Type"] == "application/json"
        status = json.loads(body) if is_json else {"reason": "", "message": body}
        return answer.status, status["reason"], status["message"]

    missing = 'pods "absent" not found'
    assert refusal("absent", **BOTH) == (404, "NotFound", missing)
    choice = "a container name must be specified for pod two, choose one of: [a b]"
    assert refusal("two", **BOTH) == (400, "BadRequest", choice)
    assert refusal("two", container="c", **BOTH) == (400, "BadRequest", "container c is not valid for pod two")
    assert refusal("two", container="a") == (400, "", "you must specify at least 1 of stdin, stdout, stderr")
    assert refusal("none", **BOTH) == (500, "", 'container not found ("main")')
    plain = cluster.request("GET", f"/api/v1/namespaces/{namespace}/pods/two/exec?container=a&command=ls&stdout=1")
    assert (plain.status, plain.json["message"]) == (400, "Upgrade request required")


def test_many_lines_are_carried_whole(cluster: Cluster, namespace: str) -> None:
    """What a program writes faster than it is read."""
    cluster.pod(namespace, "p1", "sleep", "1000")
    with program(cluster, namespace, "p1", "sh", "-c", "yes 0123456789 | head -n 200000", **BOTH) as running:
        assert running.end() == SUCCESS
        assert running.heard[1] == b"0123456789\n" * 200_000
