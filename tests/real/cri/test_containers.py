"""Containers of the real containerd, asked by CRI: told, started, stopped, removed."""

import re
from datetime import UTC, datetime

import pytest

from tests.support.containerd import IMAGE, Containerd
from tests.support.machine import SystemServer

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")
SLEEP = ("/bin/sleep", "1000")


def code_of(server: SystemServer, method: str, path: str) -> tuple[int, str]:
    answer = server.api(method, path)
    return answer.status, answer.json["error"]["code"]


def test_all_of_them_with_their_states(server: SystemServer, runtime: Containerd) -> None:
    created = runtime.make("rests", *SLEEP, start=False)
    runs = runtime.make("runs", *SLEEP, labels={"io.kubernetes.pod.name": "pod", "token": "s3cret"})
    ended = runtime.make("ends", "/bin/false")
    assert runtime.wait(ended) == 1
    data = server.data("/containers")
    assert (data["count"], data["runtime"]) == (3, "containerd")
    found = {each["id"]: each for each in data["containers"]}
    assert {id: (each["name"], each["state"], each["status"]) for id, each in found.items()} == {
        created: ("rests", "CONTAINER_CREATED", "Created"),
        runs: ("runs", "CONTAINER_RUNNING", "Running"),
        ended: ("ends", "CONTAINER_EXITED", "Exited"),
    }
    assert all(each["image"] == IMAGE and each["runtime"] == "containerd" for each in found.values())
    assert found[runs]["labels"] == {"io.kubernetes.pod.name": "pod", "token": "s3cret"}
    shown = {each["id"]: each["labels"] for each in server.data("/containers", who="reader")["containers"]}
    assert shown[runs] == {"io.kubernetes.pod.name": "pod", "token": "***"}
    created_at = found[runs]["created_at"]
    assert MOMENT.fullmatch(created_at)
    assert abs((datetime.now(UTC) - datetime.fromisoformat(created_at)).total_seconds()) < 300


def test_one_of_them(server: SystemServer, runtime: Containerd) -> None:
    id = runtime.make(
        "runs",
        *SLEEP,
        labels={"a": "b"},
        annotations={"c": "d"},
        envs=[{"key": "PASSWORD", "value": b"s3cret"}],
        mounts=[{"host_path": "/etc", "container_path": "/mnt", "readonly": True}],
        working_dir="/tmp",
    )
    data = server.data(f"/containers/{id}")
    found = data["container"]
    assert data["runtime"] == found["runtime"] == "containerd"
    assert (found["id"], found["name"], found["image"]) == (id, "runs", IMAGE)
    assert (found["state"], found["exit_code"], found["reason"]) == ("CONTAINER_RUNNING", 0, "")
    assert found["image_id"].startswith("sha256:")
    assert MOMENT.fullmatch(found["created_at"]) and MOMENT.fullmatch(found["started_at"])
    assert found["created_at"] <= found["started_at"] and found["finished_at"] == ""
    with open(f"/proc/{found['pid']}/cmdline", "rb") as file:
        assert file.read() == b"/bin/sleep\x001000\x00"
    assert found["command"] == list(SLEEP) and found["working_dir"] == "/tmp"
    assert {"PATH=/bin", "PASSWORD=s3cret"} <= set(found["env"])
    assert found["mounts"] == [{"source": "/etc", "destination": "/mnt", "read_only": True}]
    assert (found["labels"], found["annotations"]) == ({"a": "b"}, {"c": "d"})
    assert found["log_path"] == runtime.status(id).log_path
    masked = server.data(f"/containers/{id}", who="reader")["container"]
    assert "s3cret" not in str(masked) and masked["command"] == ["***"]
    assert (masked["labels"], masked["annotations"]) == ({"a": "***"}, {"c": "***"})


def test_one_that_has_ended(server: SystemServer, runtime: Containerd) -> None:
    id = runtime.make("ends", "/bin/sh", "-c", "exit 7")
    runtime.wait(id)
    found = server.data(f"/containers/{id}")["container"]
    assert (found["state"], found["exit_code"], found["reason"], found["pid"]) == ("CONTAINER_EXITED", 7, "Error", 0)
    assert found["created_at"] <= min(found["started_at"], found["finished_at"])


def test_one_by_less_than_its_id(server: SystemServer, runtime: Containerd) -> None:
    first = runtime.make("same", *SLEEP)
    second = runtime.make("same", "/bin/true")
    other = runtime.make("other", *SLEEP, start=False)
    runtime.wait(second)

    def found(id: str) -> str:
        asked: str = server.data(f"/containers/{id}")["container"]["id"]
        return asked

    assert found(first[:63]) == first and found("other") == other
    assert found("same") == first  # the other one has ended
    runtime.ask("StopContainer", container_id=first)
    answer = server.api("GET", "/containers/same")
    assert answer.status == 400 and "2 containers are meant" in answer.json["error"]["message"]


def test_images(server: SystemServer, runtime: Containerd) -> None:
    data = server.data("/containers/images", who="reader")
    (image,) = [each for each in data["images"] if IMAGE in each["repo_tags"]]
    assert data["count"] == len(data["images"]) and data["runtime"] == "containerd"
    assert image["id"].startswith("sha256:") and image["size"] > 1 << 20


def test_started_stopped_removed(server: SystemServer, runtime: Containerd) -> None:
    id = runtime.make("works", *SLEEP, start=False)

    def done(method: str, path: str) -> str:
        answer = server.api(method, f"/containers/{id}{path}")
        assert answer.status == 200, answer
        data = answer.json["data"]
        assert (data["container_id"], data["runtime"], data["success"]) == (id, "containerd", True)
        message: str = data["message"]
        return message

    assert done("POST", "/stop").endswith("is stopped already")
    assert done("POST", "/start").endswith("started")
    assert runtime.status(id).state == 1
    assert done("POST", "/start").endswith("is running already")
    assert code_of(server, "DELETE", f"/containers/{id}") == (409, "CONFLICT")
    assert runtime.status(id).state == 1
    assert done("POST", "/stop?timeout=0").endswith("stopped")
    assert runtime.status(id).state == 2
    assert done("POST", "/stop").endswith("is stopped already")
    assert code_of(server, "POST", f"/containers/{id}/start") == (409, "CONFLICT")
    assert done("DELETE", "").endswith("removed")
    busy = runtime.make("busy", *SLEEP)
    assert server.api("DELETE", f"/containers/{busy}?force=true").status == 200
    assert server.data("/containers")["count"] == 0


def test_what_is_not_started(server: SystemServer, runtime: Containerd) -> None:
    answer = server.api("POST", f"/containers/{runtime.make('nothing', '/no/such', start=False)}/start")
    assert (answer.status, answer.json["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert "/no/such" in answer.json["error"]["message"]


@pytest.mark.parametrize("id", ["nosuch", "0" * 64])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("GET", "/logs"), ("POST", "/start"), ("POST", "/stop"), ("DELETE", "?force=true")],
)
def test_one_that_is_not_there(server: SystemServer, id: str, method: str, path: str) -> None:
    assert code_of(server, method, f"/containers/{id}{path}") == (404, "NOT_FOUND")


def test_which_runtime_is_asked(server: SystemServer) -> None:
    assert server.data("/containers?runtime=containerd")["runtime"] == "containerd"
    for absent in ("cri-o", "docker", "podman"):
        assert code_of(server, "GET", f"/containers?runtime={absent}") == (503, "NO_RUNTIME_AVAILABLE")
    assert code_of(server, "GET", "/containers?runtime=nosuch") == (400, "INVALID_INPUT")


def test_one_that_offers_no_cri(server: SystemServer) -> None:
    """It may be who is meant, and says so."""
    answer = server.api("GET", "/containers?runtime=cri-o")
    assert answer.status == 503 and "disabled_plugins" in answer.json["error"]["message"]


def test_a_runtime_that_stops_and_comes_back(server: SystemServer, runtime: Containerd) -> None:
    id = runtime.make("stays", *SLEEP)
    pid = server.server.pid
    for end in (runtime.stop, runtime.kill):
        assert server.data("/containers")["count"] == 1
        end()
        try:
            for path in ("", "/images", f"/{id}", f"/{id}/logs"):
                assert code_of(server, "GET", f"/containers{path}") == (503, "NO_RUNTIME_AVAILABLE")
            assert code_of(server, "DELETE", f"/containers/{id}") == (503, "NO_RUNTIME_AVAILABLE")
        finally:
            runtime.start()
        assert server.data(f"/containers/{id}")["container"]["state"] == "CONTAINER_RUNNING"
    assert server.server.pid == pid
