"""Containers where there is no engine: who may ask, what may be asked, and that its absence is said so."""

from collections.abc import Iterator
from typing import Any

import pytest

from appliance.http.endpoints import Endpoint, bind
from appliance.system.endpoints_containers import ContainerEndpoints
from appliance.system.endpoints_docker import DockerEndpoints
from appliance.system.endpoints_docker_resources import DockerResourceEndpoints
from tests.support.machine import SystemServer, system_server

GROUPS = (ContainerEndpoints, DockerEndpoints, DockerResourceEndpoints)
BODIES: dict[str, Any] = {
    "/docker/containers": {"image": "bb:1"},
    "/docker/images/pull": {"image": "bb:1"},
    "/docker/networks": {"name": "n"},
    "/docker/volumes": {"name": "v"},
}


def declared() -> list[Endpoint]:
    return [endpoint for group in GROUPS for endpoint in bind(object.__new__(group))]


ENDPOINTS = [(each.method, each.path.replace("<path:", "<")) for each in declared()]


def path_of(path: str) -> str:
    return path.replace("<id>", "x").replace("<name>", "x")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    with system_server(tmp_path_factory.mktemp("containers")) as server:
        yield server


def test_what_there_is() -> None:
    assert {("GET", "/docker/ps"), ("GET", "/containers"), ("DELETE", "/docker/images/<id>")} <= set(ENDPOINTS)
    assert len(ENDPOINTS) == 28


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_without_an_engine(server: SystemServer, method: str, path: str) -> None:
    answer = server.api(method, path_of(path), BODIES.get(path) if method == "POST" else None)
    code = "DOCKER_ERROR" if path.startswith("/docker") else "NO_RUNTIME_AVAILABLE"
    assert (answer.status, answer.json["error"]["code"]) == (503, code), answer


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_who_may_ask(server: SystemServer, method: str, path: str) -> None:
    body = BODIES.get(path) if method == "POST" else None
    assert server.api(method, path_of(path), body, who=None).status == 401
    answer = server.api(method, path_of(path), body, who="reader")
    assert answer.status == (503 if method == "GET" else 403), answer


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/docker/ps?all=perhaps", None),
        ("GET", "/docker/ps?limit=-1", None),
        ("GET", "/docker/ps?filters=%7B", None),
        ("GET", "/docker/ps?filters=nosuch=x", None),
        ("GET", "/docker/containers/-x", None),
        ("GET", "/docker/containers/a%20b", None),
        ("GET", "/docker/containers/%2e%2e", None),
        ("GET", "/docker/containers/a%3fb/stats", None),
        ("GET", "/docker/containers/x/logs?tail=many", None),
        ("GET", "/docker/containers/x/logs?since=then", None),
        ("GET", "/containers?runtime=nosuch", None),
        ("POST", "/docker/containers/x/stop?timeout=-1", None),
        ("POST", "/docker/containers/x/stop?timeout=4000", None),
        ("POST", "/docker/containers/x/kill?signal=sig%20kill", None),
        ("POST", "/docker/containers/x/kill?signal=--help", None),
        ("POST", "/docker/containers/-x/start", None),
        ("DELETE", "/docker/containers/x?force=perhaps", None),
        ("POST", "/docker/containers", b""),
        ("POST", "/docker/containers", b"[]"),
        ("POST", "/docker/containers", {"name": "x"}),
        ("POST", "/docker/containers", {"image": "UPPER CASE"}),
        ("POST", "/docker/containers", {"image": "bb:1", "name": "../x"}),
        ("POST", "/docker/containers", {"image": "bb:1", "env": ["=x"]}),
        ("POST", "/docker/containers", {"image": "bb:1", "volumes": ["/a/../etc:/x"]}),
        ("POST", "/docker/containers", {"image": "bb:1", "portBindings": {"99999/tcp": []}}),
        ("POST", "/docker/images/pull", {}),
        ("POST", "/docker/images/pull", {"image": "a?fromSrc=x"}),
        ("POST", "/docker/images/pull", {"image": "a", "imageName": "b"}),
        ("POST", "/docker/images/pull", {"imageName": "a", "tag": "b/c"}),
        ("DELETE", "/docker/images/a%20b", None),
        ("POST", "/docker/networks", {}),
        ("POST", "/docker/networks", {"name": "n", "subnet": "everything"}),
        ("POST", "/docker/networks", {"name": "n", "subnet": "10.9.0.0/24", "gateway": "10.8.0.1"}),
        ("POST", "/docker/networks", {"name": "n", "gateway": "10.8.0.1"}),
        ("DELETE", "/docker/networks/-n", None),
        ("POST", "/docker/volumes", {"name": "a/b"}),
        ("DELETE", "/docker/volumes/-v", None),
    ],
)
def test_bad_input(server: SystemServer, method: str, path: str, body: Any) -> None:
    answer = server.api(method, path, body)
    assert answer.status == 400, answer
    assert answer.json["error"]["code"] in ("INVALID_INPUT", "VALIDATION_ERROR")


def test_methods_and_bodies_that_do_not_fit(server: SystemServer) -> None:
    assert server.api("PUT", "/docker/ps").status == 405
    assert server.api("GET", "/docker/containers").status == 405
    assert server.api("POST", "/docker/containers", b"x" * 70_000).status == 413
    assert server.api("GET", "/docker/containers/a/b/c").status == 404
