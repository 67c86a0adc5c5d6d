"""Server-side apply over HTTPS, against whatever cluster there is."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.support.kubernetes.cluster import Cluster
from tests.support.kubernetes.names import namespace_of, new_name
from tests.support.machine import SystemServer
from tests.support.server import Answer

SECRET = "s3cr3t-value"
CONTAINER = {"name": "main", "image": "nothing-that-is-run:1"}


def send(server: SystemServer, path: str, body: str, media_type: str = "application/yaml") -> Answer:
    headers = ["-H", f"Content-Type: {media_type}", "-H", f"Authorization: Bearer {server.tokens['admin']}"]
    path = f"/api/v1/kubernetes{path}"
    return server.curl("-X", "POST", *headers, "--data-binary", "@-", path=path, stdin=body.encode())


def object_of(kind: str, namespace: str, name: str, api_version: str = "v1", **content: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def pod(namespace: str, name: str = "p", **spec: Any) -> dict[str, Any]:
    return object_of("Pod", namespace, name, spec={"containers": [CONTAINER], **spec})


def deployment(namespace: str, name: str = "web", replicas: int = 1) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [CONTAINER]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return object_of("Deployment", namespace, name, "apps/v1", spec=spec)


def service(namespace: str, name: str = "web", **spec: Any) -> dict[str, Any]:
    return object_of("Service", namespace, name, spec={"ports": [{"port": 80}], "selector": {"app": name}, **spec})


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [
        ("pod", "application/json"),
        ("deployment", "application/yaml"),
        ("service", "text/yaml"),
        ("pod", "application/x-yaml"),
    ],
)
def test_twice_is_the_same_as_once(server: SystemServer, cluster: Cluster, kind: str, media_type: str) -> None:
    namespace = namespace_of(cluster, "twice")
    makers: dict[str, Callable[[str], dict[str, Any]]] = {"pod": pod, "deployment": deployment, "service": service}
    content = makers[kind](namespace)
    body = json.dumps(content) if media_type == "application/json" else yaml.safe_dump(content)
    versions = []
    for created in (True, False):
        answer = send(server, f"/{kind}s", body, media_type)
        assert answer.status == 200, answer
        data = answer.json["data"]
        (result,) = data["results"]
        assert (result["kind"], result["namespace"], result["created"]) == (content["kind"], namespace, created)
        detail = data[f"{kind}_detail"]
        assert detail["name"] == content["metadata"]["name"]
        managers = [each["manager"] for each in detail["object"]["metadata"]["managedFields"]]
        assert "appliance" in managers
        spec = {name: value for name, value in detail["object"]["spec"].items() if name != "nodeName"}
        versions.append((detail["object"]["metadata"]["uid"], spec))
    assert versions[0] == versions[1]


def test_a_change(server: SystemServer, cluster: Cluster) -> None:
    namespace = namespace_of(cluster, "changes")
    assert server.api("POST", "/kubernetes/deployments", deployment(namespace)).status == 200
    answer = server.api("POST", "/kubernetes/deployments", deployment(namespace, replicas=4))
    assert answer.json["data"]["deployment_detail"]["replicas"] == 4
    assert answer.json["data"]["message"] == "Deployment web applied"
    (row,) = server.data(f"/kubernetes/deployments/{namespace}")["deployments"]
    assert row["replicas"] == 4


def test_a_trial_keeps_nothing(server: SystemServer, cluster: Cluster) -> None:
    namespace = namespace_of(cluster, "trial")
    answer = server.api("POST", "/kubernetes/pods?dryRun=All", pod(namespace))
    assert answer.status == 200 and answer.json["data"]["message"] == "Pod p would be applied"
    assert server.api("GET", f"/kubernetes/pods/{namespace}/p").status == 404


def test_a_conflict_names_who_it_is_with(server: SystemServer, cluster: Cluster) -> None:
    namespace = namespace_of(cluster, "conflict")
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    cluster.must(cluster.apply(path, deployment(namespace, replicas=5), "somebody-else"))
    answer = server.api("POST", "/kubernetes/deployments", deployment(namespace, replicas=2))
    assert (answer.status, answer.json["error"]["code"]) == (409, "CONFLICT"), answer
    assert "somebody-else" in answer.json["error"]["message"]
    assert ".spec.replicas" in answer.json["error"]["message"]
    assert server.data(f"/kubernetes/deployments/{namespace}/web")["deployment_detail"]["replicas"] == 5
    answer = server.api("POST", "/kubernetes/deployments?force=true", deployment(namespace, replicas=2))
    assert answer.status == 200 and answer.json["data"]["deployment_detail"]["replicas"] == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda namespace: pod(namespace, nope=1), "nope"),
        (lambda namespace: object_of("Pod", namespace, "p", spec={"containers": []}), "containers"),
        (lambda namespace: service(namespace, type="Sideways"), "Sideways"),
    ],
)
def test_what_the_cluster_refuses(server: SystemServer, cluster: Cluster, content: Any, words: str) -> None:
    namespace = namespace_of(cluster, "refuses")
    answer = server.api("POST", "/kubernetes/apply", content(namespace))
    assert (answer.status, answer.json["error"]["code"]) == (422, "INVALID_INPUT"), answer
    assert words in answer.json["error"]["message"]


def test_what_there_is_not(server: SystemServer, cluster: Cluster) -> None:
    answer = server.api("POST", "/kubernetes/pods", pod("there-is-none"))
    assert (answer.status, answer.json["error"]["code"]) == (404, "NOT_FOUND"), answer
    answer = server.api("POST", "/kubernetes/apply", object_of("Thing", "default", "t", "nosuch.test/v1"))
    assert answer.status == 400 and "no kind Thing" in answer.json["error"]["message"]
    answer = server.api("POST", "/kubernetes/services", pod("default"))
    assert answer.status == 400 and "Service of v1 goes here, not Pod" in answer.json["error"]["message"]


def test_several_in_their_order(server: SystemServer, cluster: Cluster) -> None:
    name = new_name("several")
    cluster.namespaces.append(name)
    secret = object_of("Secret", name, "s", stringData={"password": SECRET})
    objects = [object_of("Namespace", "", name), deployment(name), service(name), secret]
    answer = send(server, "/apply", yaml.safe_dump_all(objects))
    assert answer.status == 200, answer
    results = answer.json["data"]["results"]
    assert [(each["kind"], each["name"], each["namespace"]) for each in results] == [
        ("Namespace", name, ""),
        ("Deployment", "web", name),
        ("Service", "web", name),
        ("Secret", "s", name),
    ]
    assert all(each["created"] for each in results[1:])
    assert answer.json["data"]["resource_detail"]["kind"] == "Namespace"
    answer = server.api("POST", "/kubernetes/apply", {"apiVersion": "v1", "kind": "List", "items": objects})
    assert [each["created"] for each in answer.json["data"]["results"]] == [False] * 4
    assert SECRET.encode() not in server.server.log.read_bytes()


def test_one_of_several_is_refused(server: SystemServer, cluster: Cluster) -> None:
    namespace = namespace_of(cluster, "part")
    objects = [
        object_of("ConfigMap", namespace, "first", data={"a": "b"}),
        pod(namespace, "second", nope=SECRET),
        object_of("ConfigMap", namespace, "third", data={"a": "b"}),
    ]
    answer = send(server, "/apply", yaml.safe_dump_all(objects))
    assert (answer.status, answer.json["error"]["code"]) == (422, "INVALID_INPUT"), answer
    error = answer.json["error"]
    assert error["message"].startswith(f"Pod {namespace}/second: ") and "nope" in error["message"]
    assert error["details"] == (
        f"applied: ConfigMap {namespace}/first; refused: Pod {namespace}/second; not tried: ConfigMap {namespace}/third"
    )
    assert server.api("GET", f"/kubernetes/configmaps/{namespace}/first").status == 200
    assert server.api("GET", f"/kubernetes/configmaps/{namespace}/third").status == 404


def test_nothing_is_applied_where_one_is_not_in_order(server: SystemServer, cluster: Cluster) -> None:
    namespace = namespace_of(cluster, "order")
    good = object_of("ConfigMap", namespace, "first", data={"a": "b"})
    for bad in (
        object_of("Thing", namespace, "t", "nosuch.test/v1"),
        object_of("Namespace", namespace, "n"),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "UPPER"}},
    ):
        answer = send(server, "/apply", yaml.safe_dump_all([good, bad]))
        assert (answer.status, answer.json["error"]["code"]) == (400, "INVALID_INPUT"), answer
    assert server.api("GET", f"/kubernetes/configmaps/{namespace}/first").status == 404


def test_a_definition_and_what_it_defines(server: SystemServer, cluster: Cluster) -> None:
    namespace = namespace_of(cluster, "defines")
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"days": {"type": "integer", "maximum": 10}}}},
    }
    spec = {
        "group": "apply.test",
        "scope": "Namespaced",
        "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
    }
    name = "things.apply.test"
    definition = object_of("CustomResourceDefinition", "", name, "apiextensions.k8s.io/v1", spec=spec)
    thing = object_of("Thing", namespace, "t", "apply.test/v1", spec={"days": 7})
    try:
        answer = send(server, "/apply", yaml.safe_dump_all([definition, thing]))
        assert answer.status == 200, answer
        assert server.data(f"/kubernetes/{name}/{namespace}/t")["resource_detail"]["object"]["spec"] == {"days": 7}
        thing["spec"]["days"] = 70
        answer = server.api("POST", f"/kubernetes/{name}", thing)
        assert (answer.status, answer.json["error"]["code"]) == (422, "INVALID_INPUT"), answer
    finally:
        server.api("DELETE", f"/kubernetes/crds/{name}")
        cluster.wait_until_gone(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")


def test_what_is_audited(server: SystemServer, cluster: Cluster) -> None:
    namespace = namespace_of(cluster, "audited")
    assert server.api("POST", "/kubernetes/pods", pod(namespace, "told")).status == 200
    assert server.api("POST", "/kubernetes/pods", pod(namespace, "refused", nope=SECRET)).status == 422
    server.api("DELETE", f"/kubernetes/pods/{namespace}/told?gracePeriodSeconds=0")
    folder = server.server.state
    stored = b"".join(path.read_bytes() for path in folder.glob("appliance.db*"))
    for words in (f"Pod {namespace}/told", f"Pod {namespace}/refused", f"pods {namespace}/told", "kubernetes.apply"):
        assert words.encode() in stored
    assert b"refused: not accepted by the cluster" in stored and SECRET.encode() not in stored
