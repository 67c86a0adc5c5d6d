"""Kubernetes where there is no cluster: who may ask, what may be asked, and that its absence is said so."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.http.endpoints import Endpoint, bind
from appliance.system.endpoints_kubernetes import KubernetesListEndpoints
from appliance.system.endpoints_kubernetes_apply import KubernetesApplyEndpoints
from appliance.system.endpoints_kubernetes_objects import KubernetesObjectEndpoints
from appliance.system.endpoints_kubernetes_pods import KubernetesPodEndpoints
from tests.support.machine import SystemServer, system_server

GROUPS = (KubernetesListEndpoints, KubernetesObjectEndpoints, KubernetesApplyEndpoints, KubernetesPodEndpoints)
KINDS = {"/pods": "Pod", "/deployments": "Deployment", "/services": "Service", "/apply": "Pod", "/<kind>": "ConfigMap"}
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "s3cr3t"}}


def declared() -> list[Endpoint]:
    return [endpoint for group in GROUPS for endpoint in bind(object.__new__(group))]


ENDPOINTS = [(each.method, each.path) for each in declared()]


def path_of(path: str) -> str:
    path = re.sub("<any.*:kind>", "deployments", path.replace("<kind>", "configmaps"))
    return path.replace("<namespace>", "x").replace("<name>", "x")


def body_of(method: str, path: str) -> Any:
    if path.endswith("/scale"):
        return {"replicas": 1}
    if method != "POST":
        return None
    kind = KINDS[path.removeprefix("/kubernetes")]
    version = "apps/v1" if kind == "Deployment" else "v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "x", "namespace": "x"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    with system_server(tmp_path_factory.mktemp("kubernetes")) as server:
        yield server
        assert "Traceback" not in server.server.log.read_text()


def send_yaml(server: SystemServer, path: str, text: str, media_type: str = "application/yaml") -> Any:
    headers = ["-H", f"Content-Type: {media_type}", "-H", f"Authorization: Bearer {server.tokens['admin']}"]
    return server.curl("-X", "POST", *headers, "--data-binary", "@-", path=f"/api/v1{path}", stdin=text.encode())


def test_what_there_is() -> None:
    assert {("GET", "/kubernetes/pods"), ("POST", "/kubernetes/apply")} <= set(ENDPOINTS)
    assert len(ENDPOINTS) == 32


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_without_a_cluster(server: SystemServer, method: str, path: str) -> None:
    answer = server.api(method, path_of(path), body_of(method, path))
    assert (answer.status, answer.json["error"]["code"]) == (503, "KUBERNETES_NOT_INSTALLED"), answer


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_who_may_ask(server: SystemServer, method: str, path: str) -> None:
    body = body_of(method, path)
    assert server.api(method, path_of(path), body, who=None).status == 401
    answer = server.api(method, path_of(path), body, who="reader")
    assert answer.status == (503 if method == "GET" else 403), answer
    assert answer.json["error"]["code"] == ("KUBERNETES_NOT_INSTALLED" if method == "GET" else "PERMISSION_DENIED")


@pytest.mark.parametrize("path", ["/secrets", "/secrets/default", "/secrets/default/s", "/secrets?limit=1"])
def test_secrets_are_for_administrators(server: SystemServer, path: str) -> None:
    answer = server.api("GET", f"/kubernetes{path}", who="reader")
    assert (answer.status, answer.json["error"]["code"]) == (403, "PERMISSION_DENIED")
    assert server.api("GET", f"/kubernetes{path}").status == 503


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/pods?limit=-1"),
        ("GET", "/pods?limit=501"),
        ("GET", "/pods?limit=many"),
        ("GET", "/pods?namespace=a/b"),
        ("GET", "/pods?namespace=UPPER"),
        ("GET", f"/pods?namespace={'x' * 64}"),
        ("GET", f"/pods?labelSelector={'x' * 5000}"),
        ("GET", "/pods/UPPER"),
        ("GET", "/pods/-x"),
        ("GET", "/pods/a%3fb"),
        ("GET", "/pods/-/x"),
        ("GET", "/pods/default/a%20b"),
        ("GET", "/pods/default/a..b"),
        ("GET", "/pods/default/%2e%2e"),
        ("GET", "/pods/default/p/logs?lines=some"),
        ("GET", "/pods/default/p/logs?since=then"),
        ("GET", "/pods/default/p/logs?container=a/b"),
        ("GET", "/pods/default/p/logs?follow=perhaps"),
        ("GET", "/pods/default/UPPER/logs"),
        ("GET", "/nodes/UPPER"),
        ("GET", "/nodes/default/x"),
        ("GET", "/namespaces/default/x"),
        ("GET", "/configmaps/UPPER"),
        ("GET", "/configmaps/-/x"),
        ("GET", "/deployments/default/UPPER/rollout/status"),
        ("PATCH", "/deployments/UPPER/x/rollout/restart"),
        ("DELETE", "/pods/default/UPPER"),
        ("DELETE", "/pods/-/x"),
        ("DELETE", "/nodes/UPPER"),
        ("DELETE", "/namespaces/default/x"),
        ("DELETE", "/pods/default/p?gracePeriodSeconds=-1"),
        ("DELETE", "/pods/default/p?propagationPolicy=Sideways"),
        ("DELETE", "/pods/default/p?dryRun=perhaps"),
    ],
)
def test_bad_input(server: SystemServer, method: str, path: str) -> None:
    answer = server.api(method, f"/kubernetes{path}")
    assert answer.status == 400, answer
    assert answer.json["error"]["code"] in ("INVALID_INPUT", "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nosuch"),
        ("GET", "/UPPER"),
        ("GET", "/..%2fpods"),
        ("GET", "/things.UPPER"),
        ("GET", "/nosuch/default/x"),
        ("DELETE", "/nosuch/default/x"),
        ("POST", "/nosuch"),
        ("GET", "/pods/a/b/c"),
        ("PATCH", "/pods/default/p/rollout/restart"),
    ],
)
def test_what_there_is_not(server: SystemServer, method: str, path: str) -> None:
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}} if method == "POST" else None
    answer = server.api(method, f"/kubernetes{path}", body)
    assert (answer.status, answer.json["error"]["code"]) == (404, "NOT_FOUND"), answer


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"a":1,"a":1}',
        {},
        {"apiVersion": "v1", "kind": "Pod"},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "../x"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}},
        {"apiVersion": "apps/v1", "kind": "Pod", "metadata": {"name": "x"}},
        {"apiVersion": "v1", "kind": "List", "items": [{}]},
    ],
)
def test_objects_that_are_refused(server: SystemServer, body: Any) -> None:
    answer = server.api("POST", "/kubernetes/pods", body)
    assert (answer.status, answer.json["error"]["code"]) == (400, "INVALID_INPUT"), answer


def test_yaml_that_is_refused(server: SystemServer) -> None:
    bomb = "a: &a [x,x]\n" + "".join(f"{b}: &{b} [*{a},*{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    for text in (bomb, "a: [", "a: 1\na: 2", "a: !!python/name:os.system", "[" * 100_000, "- 1\n" * 300_000):
        answer = send_yaml(server, "/kubernetes/apply", text)
        assert (answer.status, answer.json["error"]["code"]) == (400, "INVALID_INPUT"), answer
        assert "line " in answer.json["error"]["message"]
    answer = send_yaml(server, "/kubernetes/pods", "x: y")
    assert "the document of line 1" in answer.json["error"]["message"]


def test_what_is_too_large_is_not_read(server: SystemServer) -> None:
    for media_type in ("application/yaml", "application/json"):
        answer = send_yaml(server, "/kubernetes/apply", "a: b\n" * 4_000_000, media_type)
        assert (answer.status, answer.json["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_media_types(server: SystemServer) -> None:
    pod = '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "x"}}'
    for taken in ("application/yaml", "text/yaml", "application/x-yaml", "application/json; charset=utf-8"):
        assert send_yaml(server, "/kubernetes/pods", pod, taken).status == 503
    for refused in ("text/plain", "multipart/form-data; boundary=b", "application/octet-stream"):
        answer = send_yaml(server, "/kubernetes/pods", pod, refused)
        assert (answer.status, answer.json["error"]["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("body", [{}, {"replicas": -1}, {"replicas": "three"}, {"replicas": 10**9}, b"", b"[]"])
def test_numbers_that_are_refused(server: SystemServer, body: Any) -> None:
    answer = server.api("PATCH", "/kubernetes/deployments/ns/web/scale", body)
    assert (answer.status, answer.json["error"]["code"]) == (400, "VALIDATION_ERROR"), answer
    assert server.api("PATCH", "/kubernetes/daemonsets/ns/web/scale", {"replicas": 1}).status == 404


def test_methods_that_do_not_fit(server: SystemServer) -> None:
    assert server.api("PUT", "/kubernetes/pods").status == 405
    assert server.api("DELETE", "/kubernetes/pods/default").status == 405
    assert server.api("GET", "/kubernetes/deployments/default/x/rollout/restart").status == 405


def test_what_was_tried_is_audited_without_what_it_holds(server: SystemServer) -> None:
    assert server.api("POST", "/kubernetes/secrets", SECRET).status == 503
    assert server.api("POST", "/kubernetes/secrets", SECRET, who="reader").status == 403
    assert server.api("DELETE", "/kubernetes/pods/ns/p").status == 503
    assert server.api("PATCH", "/kubernetes/deployments/ns/d/rollout/restart").status == 503
    database = server.server.state / "appliance.db"
    stored = b"".join(path.read_bytes() for path in database.parent.glob("appliance.db*"))
    for what in (b"Secret s", b"pods ns/p", b"deployments ns/d", b"kubernetes.rollout.restart"):
        assert what in stored
    assert b"s3cr3t" not in stored and b"s3cr3t" not in server.server.log.read_bytes()
