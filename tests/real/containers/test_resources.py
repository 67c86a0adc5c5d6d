"""Images, networks and volumes, and pulls from a registry on the loopback."""

import base64
import json

from tests.support.engines import REGISTRY, Engine
from tests.support.machine import SystemServer

PROBE = f"{REGISTRY}/probe/bb:1"


def forget(engine: Engine, image: str) -> None:
    engine.request("DELETE", f"/images/{image}?force=1")


def has(engine: Engine, image: str) -> bool:
    return any(image in (each["RepoTags"] or []) for each in engine.json("GET", "/images/json"))


def test_images(server: SystemServer, engine: Engine) -> None:
    assert server.api("POST", "/docker/images/pull", {"image": PROBE}).status == 200
    data = server.data("/docker/images", who="reader")
    assert data["count"] == len(data["images"])
    (found,) = [each for each in data["images"] if PROBE in each["repoTags"]]
    assert found["size"] > 1_000_000 and found["created"] == 1_704_067_200
    id = engine.make("user", "/bin/sleep", "1000", Image=PROBE)
    answer = server.api("DELETE", f"/docker/images/{found['id']}")
    assert answer.status == 409, answer
    engine.request("DELETE", f"/containers/{id}?force=1")
    removed = server.api("DELETE", f"/docker/images/{PROBE}")
    assert removed.status == 200 and removed.json["data"]["untagged"] and removed.json["data"]["success"] is True
    assert not has(engine, PROBE)
    assert server.api("DELETE", f"/docker/images/{PROBE}").status == 404
    assert server.api("DELETE", "/docker/images/no/../../such").status in (400, 404)


def test_a_pull(server: SystemServer, engine: Engine) -> None:
    forget(engine, PROBE)
    answer = server.api("POST", "/docker/images/pull", {"imageName": f"{REGISTRY}/probe/bb", "tag": "1"})
    assert answer.status == 200
    data = answer.json["data"]
    assert (data["message"], data["image"], data["success"]) == (f"Pulled {PROBE}", PROBE, True)
    assert (data["job"]["status"], data["job"]["percentage"], data["job"]["object"]) == ("success", 100, PROBE)
    assert has(engine, PROBE)


def test_a_pull_that_nobody_waits_for(server: SystemServer, engine: Engine) -> None:
    forget(engine, PROBE)
    answer = server.api("POST", "/docker/images/pull", {"image": PROBE}, "Prefer: respond-async")
    assert (answer.status, answer.headers["preference-applied"]) == (202, "respond-async")
    place = answer.headers["location"].removeprefix("/api/v1")
    while (job := server.data(place, who="reader")["job"])["status"] == "running":
        pass
    assert (job["status"], job["percentage"], job["message"]) == ("success", 100, f"Pulled {PROBE}")
    assert has(engine, PROBE)


def test_a_pull_of_what_is_not_there(server: SystemServer, engine: Engine) -> None:
    answer = server.api("POST", "/docker/images/pull", {"image": f"{REGISTRY}/probe/bb", "tag": "nosuch"})
    assert (answer.status, answer.json["error"]["code"]) == (404, "NOT_FOUND")
    assert "manifest unknown" in answer.json["error"]["message"]
    begun = server.api("POST", "/docker/images/pull", {"image": f"{REGISTRY}/probe/none"}, "Prefer: respond-async")
    place = begun.headers["location"].removeprefix("/api/v1")
    while (job := server.data(place)["job"])["status"] == "running":
        pass
    assert job["status"] == "failure" and "manifest unknown" in job["message"]


def test_a_registry_that_does_not_answer(server: SystemServer, engine: Engine) -> None:
    answer = server.api("POST", "/docker/images/pull", {"image": "127.0.0.1:1/probe/bb:1"})
    assert (answer.status, answer.json["error"]["code"]) == (503, "DOCKER_ERROR")
    assert "connection refused" in answer.json["error"]["message"]


def test_credentials_go_to_the_engine_and_nowhere_else(server: SystemServer, engine: Engine) -> None:
    secret = base64.urlsafe_b64encode(json.dumps({"username": "u", "password": "hush-hush"}).encode()).decode()
    answer = server.api("POST", "/docker/images/pull", {"image": PROBE}, f"X-Registry-Auth: {secret}")
    assert answer.status == 200, answer
    for wrong in ("garbage!", base64.b64encode(b"[]").decode(), "x" * 9000):
        refused = server.api("POST", "/docker/images/pull", {"image": PROBE}, f"X-Registry-Auth: {wrong}")
        assert refused.status == 400 and wrong not in refused.body.decode()
    kept = b"".join(path.read_bytes() for path in server.server.state.rglob("*") if path.is_file())
    for each in (secret.encode(), b"hush-hush"):
        assert each not in kept and each not in server.server.log.read_bytes()


def test_networks(server: SystemServer, engine: Engine) -> None:
    body = {"name": "net1", "subnet": "172.30.7.0/24", "gateway": "172.30.7.1", "labels": {"token": "hush"}}
    made = server.api("POST", "/docker/networks", body)
    assert made.status == 201 and made.json["data"]["success"] is True, made
    seen = engine.json("GET", "/networks/net1")
    assert seen["Id"] == made.json["data"]["networkId"]
    assert seen["IPAM"]["Config"] == [{"Subnet": "172.30.7.0/24", "Gateway": "172.30.7.1"}]
    data = server.data("/docker/networks", who="reader")
    (found,) = [each for each in data["networks"] if each["name"] == "net1"]
    assert data["count"] == len(data["networks"]) and found["labels"] == {"token": "***"}
    assert found["subnets"] == [{"subnet": "172.30.7.0/24", "gateway": "172.30.7.1"}] and found["driver"] == "bridge"
    assert server.api("POST", "/docker/networks", body).status == 409
    assert server.api("DELETE", "/docker/networks/net1").status == 200
    assert engine.request("GET", "/networks/net1")[0] == 404
    assert server.api("DELETE", "/docker/networks/bridge").status == 409


def test_volumes(server: SystemServer, engine: Engine) -> None:
    made = server.api("POST", "/docker/volumes", {"name": "vol1", "labels": {"key": "hush"}})
    assert made.status == 201 and made.json["data"]["name"] == "vol1"
    assert engine.json("GET", "/volumes/vol1")["Labels"] == {"key": "hush"}
    assert server.api("POST", "/docker/volumes", {"name": "vol1"}).status == 409
    (found,) = server.data("/docker/volumes", who="reader")["volumes"]
    assert (found["name"], found["driver"], found["labels"]) == ("vol1", "local", {"key": "***"})
    engine.make("holder", "/bin/true", start=False, HostConfig={"Binds": ["vol1:/data"], "NetworkMode": "host"})
    assert server.api("DELETE", "/docker/volumes/vol1").status == 409
    engine.remove_all()
    assert server.api("DELETE", "/docker/volumes/vol1").status == 200
    assert engine.request("GET", "/volumes/vol1")[0] == 404
    nameless = server.api("POST", "/docker/volumes", {})
    assert nameless.status == 201
    assert server.api("DELETE", f"/docker/volumes/{nameless.json['data']['name']}").status == 200
