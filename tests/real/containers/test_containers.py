"""Containers made, run, looked at and removed over HTTPS, seen with the engine's own eyes."""

import pytest

from tests.support.engines import IMAGE, Engine
from tests.support.machine import SystemServer
from tests.support.processes import wait_for

TALK = "trap 'exit 0' TERM; echo to-out; echo to-err >&2; while :; do sleep 0.1; done"


def state(engine: Engine, id: str) -> str:
    status: str = engine.inspect(id)["State"]["Status"]
    return status


def test_the_life_of_a_container(server: SystemServer, engine: Engine) -> None:
    body = {
        "name": "life",
        "image": IMAGE,
        "cmd": ["/bin/sh", "-c", TALK],
        "env": ["ENV=production"],
        "labels": {"made-by": "test"},
        "networkMode": "host",
        "workingDir": "/tmp",
        "volumes": ["/usr/share:/shared:ro", {"source": "life-data", "target": "/data"}],
        "restartPolicy": {"name": "on-failure", "maximumRetryCount": 3},
        "resources": {"memory": 64 << 20, "pidsLimit": 50},
    }
    made = server.api("POST", "/docker/containers", body)
    assert made.status == 201
    data = made.json["data"]
    assert data["success"] is True and data["message"] == "Container life created"
    id = data["containerId"]
    seen = engine.inspect("life")
    assert seen["Id"] == id and "ENV=production" in seen["Config"]["Env"]
    assert seen["HostConfig"]["Memory"] == 64 << 20 and seen["HostConfig"]["PidsLimit"] == 50
    assert seen["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert {each["Destination"]: each["RW"] for each in seen["Mounts"]} == {"/shared": False, "/data": True}

    assert server.api("POST", "/docker/containers", body).status == 409
    for expected in ("Container life started", "Container life is running already"):
        started = server.api("POST", "/docker/containers/life/start")
        assert started.json["data"] == {
            "containerId": "life",
            "action": "start",
            "message": expected,
            "success": True,
        }
    assert state(engine, id) == "running"
    refused = server.api("DELETE", "/docker/containers/life")
    assert (refused.status, refused.json["error"]["code"]) == (409, "CONFLICT")
    assert state(engine, id) == "running"

    assert server.api("POST", "/docker/containers/life/unpause").status == 409
    assert server.api("POST", "/docker/containers/life/pause").status == 200
    assert state(engine, id) == "paused"
    assert server.api("POST", "/docker/containers/life/pause").status == 409
    assert server.api("DELETE", "/docker/containers/life").status == 409
    assert server.api("POST", "/docker/containers/life/unpause").status == 200
    before = engine.inspect(id)["State"]["StartedAt"]
    assert server.api("POST", "/docker/containers/life/restart?timeout=20").status == 200
    assert engine.inspect(id)["State"]["StartedAt"] != before
    killed = server.api("POST", "/docker/containers/life/kill?signal=SIGTERM")
    assert (killed.status, killed.json["data"]["message"]) == (200, "Container life was sent SIGTERM")
    wait_for(lambda: state(engine, id) == "exited", "the end of the container")
    assert engine.inspect(id)["State"]["ExitCode"] == 0
    assert server.api("POST", "/docker/containers/life/kill").status == 409
    assert server.api("POST", "/docker/containers/life/start").status == 200
    assert server.api("POST", "/docker/containers/life/stop?timeout=20").status == 200
    assert (
        server.api("POST", "/docker/containers/life/stop").json["data"]["message"]
        == "Container life is stopped already"
    )
    removed = server.api("DELETE", "/docker/containers/life")
    assert removed.json["data"]["action"] == "remove"
    assert engine.request("GET", f"/containers/{id}/json")[0] == 404
    assert server.api("DELETE", "/docker/volumes/life-data").status == 200


def test_a_running_one_is_removed_by_force(server: SystemServer, engine: Engine) -> None:
    id = engine.make("forced", "/bin/sleep", "1000")
    assert server.api("DELETE", f"/docker/containers/{id}?force=true").status == 200
    assert engine.request("GET", f"/containers/{id}/json")[0] == 404


def test_the_list(server: SystemServer, engine: Engine) -> None:
    runs = engine.make("runs", "/bin/sleep", "1000", Labels={"com.docker.compose.project": "shop", "auth": "hush"})
    engine.make("rests", "/bin/true", start=False)
    (found,) = server.data("/docker/ps")["containers"]
    seen = engine.inspect(runs)
    assert found["id"] == runs and found["names"] == ["/runs"] and found["state"] == "running"
    assert found["image"].endswith(IMAGE) and found["imageId"] == f"sha256:{seen['Image'].removeprefix('sha256:')}"
    assert found["command"] == "/bin/sleep 1000" and found["status"].startswith("Up")
    assert found["labels"]["auth"] == "hush" and isinstance(found["created"], int) and found["ports"] == []
    (read,) = server.data("/docker/ps", who="reader")["containers"]
    assert read == {**found, "command": "***", "labels": {"com.docker.compose.project": "shop", "auth": "***"}}

    everything = server.data("/docker/ps?all=true")
    assert everything["count"] == 2 == len(everything["containers"])
    assert server.data("/docker/ps?all=true&limit=1")["count"] == 1
    for filters, names in (
        ('{"name":["rests"]}', ["/rests"]),
        ('{"label":["auth=hush"]}', ["/runs"]),
        ('{"status":{"running":true}}', ["/runs"]),
        ("name=runs", ["/runs"]),
        ('{"label":["none"]}', []),
    ):
        arguments = ["--data-urlencode", f"filters={filters}", "-G"]
        token = f"Authorization: Bearer {server.tokens['admin']}"
        answer = server.curl("-H", token, *arguments, path="/api/v1/docker/ps?all=true")
        assert answer.status == 200, answer
        assert [each["names"] for each in answer.json["data"]["containers"]] == [[name] for name in names]


def test_a_change_shows_at_once(server: SystemServer, engine: Engine) -> None:
    id = engine.make("shown", "/bin/sleep", "1000", start=False)
    for _ in range(5):
        assert server.data("/docker/ps")["count"] == 0
        server.api("POST", f"/docker/containers/{id}/start")
        assert server.data("/docker/ps")["count"] == 1
        server.api("POST", f"/docker/containers/{id}/stop?timeout=0")


def test_what_is_known_of_one(server: SystemServer, engine: Engine) -> None:
    id = engine.make("known", "/bin/sh", "-c", "sleep 1000", Env=["PASSWORD=hush"], Labels={"a": "b"})
    found = server.data(f"/docker/containers/{id}")
    assert (found["id"], found["name"], found["command"]) == (id, "known", ["/bin/sh", "-c", "sleep 1000"])
    assert found["state"]["running"] is True and found["state"]["pid"] == engine.inspect(id)["State"]["Pid"]
    assert found["state"]["finishedAt"] == "" and found["networkMode"] == "host"
    assert "PASSWORD=hush" in found["env"]
    by_name = server.data("/docker/containers/known", who="reader")
    assert "PASSWORD=***" in by_name["env"] and by_name["command"] == ["***"] and by_name["labels"] == {"a": "***"}
    assert "hush" not in str(by_name)

    neutral = server.data(f"/containers/{id}")
    assert neutral["runtime"] == engine.name == neutral["container"]["runtime"]
    assert neutral["container"]["state"] == "CONTAINER_RUNNING" and "PASSWORD=hush" in neutral["container"]["env"]
    assert "hush" not in str(server.data(f"/containers/{id}", who="reader"))


def test_what_it_uses(server: SystemServer, engine: Engine) -> None:
    id = engine.make("busy", "/bin/sh", "-c", "while :; do :; done")
    found = server.data(f"/docker/containers/{id}/stats", who="reader")
    assert found["containerId"] == id and found["cpuPercent"] > 0 and found["pids"] >= 1
    assert 0 < found["memoryUsage"] < found["memoryLimit"]
    rests = engine.make("idle", "/bin/true", start=False)
    assert server.data(f"/docker/containers/{rests}/stats")["pids"] == 0


def test_any_runtime(server: SystemServer, engine: Engine) -> None:
    runs = engine.make("runs", "/bin/sleep", "1000")
    rests = engine.make("rests", "/bin/true", start=False)
    ended = engine.make("ended", "/bin/false")
    engine.wait(ended)
    data = server.data("/containers", who="reader")
    assert (data["count"], data["runtime"]) == (3, engine.name)
    states = {each["id"]: each["state"] for each in data["containers"]}
    assert states == {runs: "CONTAINER_RUNNING", rests: "CONTAINER_CREATED", ended: "CONTAINER_EXITED"}
    assert {each["name"] for each in data["containers"]} == {"runs", "rests", "ended"}
    assert all(each["runtime"] == engine.name and each["created_at"].endswith("Z") for each in data["containers"])
    assert server.data(f"/containers/{ended}")["container"]["exit_code"] == 1
    images = server.data("/containers/images", who="reader")
    assert images["runtime"] == engine.name and images["count"] == len(images["images"]) > 0

    started = server.api("POST", f"/containers/{rests}/start")
    assert started.json["data"]["action"] == "start" and started.json["data"]["runtime"] == engine.name
    assert server.api("POST", f"/containers/{runs}/stop?timeout=0").status == 200
    assert state(engine, runs) == "exited"
    assert server.api("DELETE", f"/containers/{runs}").status == 200
    assert engine.request("GET", f"/containers/{runs}/json")[0] == 404
    busy = engine.make("busy", "/bin/sleep", "1000")
    assert server.api("DELETE", f"/containers/{busy}").status == 409
    assert server.api("DELETE", f"/containers/{busy}?force=true").status == 200
    assert server.data(f"/containers?runtime={engine.name}")["count"] == 2
    other = {"docker": "podman", "podman": "docker"}[engine.name]
    answer = server.api("GET", f"/containers?runtime={other}")
    assert (answer.status, answer.json["error"]["code"]) == (503, "NO_RUNTIME_AVAILABLE")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/containers/nosuch"),
        ("GET", "/containers/nosuch/logs"),
        ("POST", "/containers/nosuch/start"),
        ("POST", "/containers/nosuch/stop"),
        ("DELETE", "/containers/nosuch"),
        ("GET", "/docker/containers/nosuch"),
        ("GET", "/docker/containers/nosuch/logs?follow=true"),
        ("GET", "/docker/containers/nosuch/stats"),
        *[
            ("POST", f"/docker/containers/nosuch/{action}")
            for action in ("start", "stop", "restart", "kill", "pause", "unpause")
        ],
        ("DELETE", "/docker/containers/nosuch?force=true"),
        ("DELETE", "/docker/images/nosuch:1"),
        ("DELETE", "/docker/networks/nosuch"),
        ("DELETE", "/docker/volumes/nosuch"),
    ],
)
def test_what_is_not_there(server: SystemServer, method: str, path: str) -> None:
    answer = server.api(method, path)
    assert (answer.status, answer.json["error"]["code"]) == (404, "NOT_FOUND"), answer


def test_a_container_that_cannot_be_made_or_run(server: SystemServer, engine: Engine) -> None:
    assert server.api("POST", "/docker/containers", {"image": "nosuch:1"}).status == 404
    id = engine.make("broken", "/nosuch/program", start=False)
    answer = server.api("POST", f"/docker/containers/{id}/start")
    assert answer.status == 400 and "/nosuch/program" in answer.json["error"]["message"]
    assert server.api("POST", f"/docker/containers/{id}/kill?signal=SIGNONE").status in (400, 409)


@pytest.mark.parametrize("action", ["start", "restart?timeout=1"])
@pytest.mark.parametrize(
    "bad",
    [
        {"cmd": ["/" + "x" * 3000]},
        {"user": "nobody-of-this-name"},
        {"networkMode": "nosuch"},
        {"volumes": ["/dev/null:/etc"]},
    ],
)
def test_what_cannot_run_is_no_failure_of_the_engine(
    server: SystemServer, engine: Engine, bad: dict[str, object], action: str
) -> None:
    """It is refused when it is made, or when it is started."""
    body = {"image": "bb:1", "name": "bad", "cmd": ["/bin/true"], "networkMode": "host", **bad}
    answer = server.api("POST", "/docker/containers", body)
    if answer.status == 201:
        answer = server.api("POST", f"/docker/containers/bad/{action}")
    assert answer.status in (400, 404), answer


def test_ports_are_published_and_told_as_texts(server: SystemServer, engine: Engine) -> None:
    if engine.name == "podman":
        body = {"name": "ports", "image": IMAGE, "portBindings": {"80/tcp": [{"hostPort": "18080"}], "81/udp": []}}
        assert server.api("POST", "/docker/containers", body).status == 201
        bindings = engine.inspect("ports")["HostConfig"]["PortBindings"]
        assert bindings["80/tcp"][0]["HostPort"] == "18080"
        return
    body = {
        "name": "ports",
        "image": IMAGE,
        "cmd": "/bin/sleep 1000",
        "portBindings": {"80/tcp": [{"hostPort": "18080", "hostIp": "127.0.0.1"}], "81/udp": None},
    }
    assert server.api("POST", "/docker/containers", body).status == 201
    assert server.api("POST", "/docker/containers/ports/start").status == 200
    (found,) = server.data("/docker/ps")["containers"]
    assert found["ports"] == ["80/tcp->18080/tcp", "81/udp"]
    details = server.data("/docker/containers/ports")
    assert details["ports"] == found["ports"] and details["networks"][0]["ipAddress"]
    second = {**body, "name": "second"}
    assert server.api("POST", "/docker/containers", second).status == 201
    assert server.api("POST", "/docker/containers/second/start").status == 409


def test_changes_are_audited_without_secrets(server: SystemServer, engine: Engine) -> None:
    body = {"name": "audited", "image": IMAGE, "env": ["TOKEN=hush-hush"], "cmd": ["/bin/true"]}
    assert server.api("POST", "/docker/containers", body).status == 201
    assert server.api("POST", "/docker/containers/audited/kill", who="reader").status == 403
    database = (server.server.state / "appliance.db").read_bytes()
    log = server.server.state / "appliance.db-wal"
    stored = database + (log.read_bytes() if log.exists() else b"")
    assert b"docker.container.create" in stored and b"docker.container.kill" in stored and b"audited" in stored
    assert b"hush-hush" not in stored and b"hush-hush" not in server.server.log.read_bytes()
