"""Lists, single objects and deletion over HTTPS, against whatever cluster there is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.kubernetes.conftest import server_of
from tests.support.kubernetes.cluster import Cluster
from tests.support.kubernetes.double import Double
from tests.support.kubernetes.names import namespace_of
from tests.support.machine import SystemServer

SECRET = "s3cr3t-value"
AGE = re.compile(r"[0-9]+s|[0-9]+m([0-9]+s)?|[0-9]+h([0-9]+m)?|[0-9]+d([0-9]+h)?")
CONTAINER = {
    "name": "main",
    "image": "nothing-that-is-run:1",
    "command": ["sh", "-c", SECRET],
    "env": [{"name": "PASSWORD", "value": SECRET}],
}


def make(cluster: Cluster, path: str, content: dict[str, Any]) -> Any:
    return cluster.must(cluster.apply(path, content))


def pod(namespace: str, name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {"containers": [CONTAINER]},
    }


def make_pod(cluster: Cluster, namespace: str, name: str, **metadata: Any) -> None:
    make(cluster, f"/api/v1/namespaces/{namespace}/pods/{name}", pod(namespace, name, **metadata))


def make_deployment(cluster: Cluster, namespace: str, name: str = "web") -> None:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [CONTAINER]}}
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": name}}, "template": template}
    content = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
    make(cluster, f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}", content)


def make_service(cluster: Cluster, namespace: str, name: str = "web") -> None:
    spec = {"ports": [{"port": 80, "protocol": "TCP"}], "selector": {"app": name}}
    content = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
    make(cluster, f"/api/v1/namespaces/{namespace}/services/{name}", content)


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in rows]


def test_pods(server: SystemServer, cluster: Cluster) -> None:
    first, second = namespace_of(cluster, "pods-a"), namespace_of(cluster, "pods-b")
    make_pod(cluster, first, "one", labels={"app": "web"}, annotations={"a": SECRET})
    make_pod(cluster, first, "two", labels={"app": "other"})
    make_pod(cluster, second, "three", labels={"app": "web"})
    everything = server.data("/kubernetes/pods", who="reader")
    assert {"one", "two", "three"} <= set(names(everything["pods"]))
    assert everything["count"] == len(everything["pods"]) and everything["continue"] == ""
    found = server.data(f"/kubernetes/pods/{first}")
    assert names(found["pods"]) == ["one", "two"] and found["count"] == 2
    row = found["pods"][0]
    assert (row["namespace"], row["ready"], row["restarts"]) == (first, "0/1", 0)
    assert AGE.fullmatch(row["age"]) and {"status", "ip", "node"} <= set(row)
    assert row["images"] == ["nothing-that-is-run:1"] and row["labels"] == {"app": "web"}
    assert names(server.data(f"/kubernetes/pods?namespace={second}")["pods"]) == ["three"]
    chosen = server.data(f"/kubernetes/pods/{first}?labelSelector=app%3Dother")
    assert names(chosen["pods"]) == ["two"]
    chosen = server.data("/kubernetes/pods?fieldSelector=metadata.name%3Dthree&labelSelector=app%20in%20(web)")
    assert names(chosen["pods"]) == ["three"]
    assert SECRET not in str(everything)


def test_pages(server: SystemServer, cluster: Cluster) -> None:
    namespace = namespace_of(cluster, "pages")
    wanted = [f"p{number}" for number in range(7)]
    for name in wanted:
        make_pod(cluster, namespace, name)
    seen, goes_on, pages = [], "", 0
    while pages == 0 or goes_on:
        page = server.data(f"/kubernetes/pods/{namespace}?limit=3&continue={goes_on}")
        assert page["count"] == len(page["pods"]) <= 3
        seen += names(page["pods"])
        goes_on, pages = page["continue"], pages + 1
    assert (seen, pages) == (wanted, 3)
    assert names(server.data(f"/kubernetes/pods/{namespace}")["pods"]) == wanted
    answer = server.api("GET", f"/kubernetes/pods/{namespace}?limit=3&continue=nonsense")
    assert (answer.status, answer.json["error"]["code"]) == (422, "INVALID_INPUT")


def test_deployments_and_services(server: SystemServer, cluster: Cluster) -> None:
    namespace = namespace_of(cluster, "work")
    make_deployment(cluster, namespace)
    make_service(cluster, namespace)
    (row,) = server.data(f"/kubernetes/deployments/{namespace}", who="reader")["deployments"]
    assert (row["name"], row["namespace"], row["replicas"]) == ("web", namespace, 3)
    assert (row["selector"], row["images"]) == ("app=web", ["nothing-that-is-run:1"])
    assert row["ready"].endswith("/3") and AGE.fullmatch(row["age"])
    assert names(server.data(f"/kubernetes/deployments?namespace={namespace}")["deployments"]) == ["web"]
    (row,) = server.data(f"/kubernetes/services/{namespace}", who="reader")["services"]
    assert (row["name"], row["type"], row["ports"], row["selector"]) == ("web", "ClusterIP", ["80/TCP"], "app=web")
    assert row["cluster_ip"] and row["external_ips"] == []
    assert "kubernetes" in names(server.data("/kubernetes/services?namespace=default")["services"])


def test_what_is_in_no_namespace(server: SystemServer, cluster: Cluster) -> None:
    namespace = namespace_of(cluster, "alone")
    found = server.data("/kubernetes/namespaces", who="reader")
    row = next(row for row in found["namespaces"] if row["name"] == namespace)
    assert row["status"] == "Active" and AGE.fullmatch(row["age"]) and found["count"] == len(found["namespaces"])
    for path in (f"/kubernetes/namespaces/{namespace}", f"/kubernetes/namespaces/-/{namespace}"):
        detail = server.data(path)["resource_detail"]
        assert (detail["kind"], detail["namespace"]) == ("Namespace", "")
        assert detail["object"]["status"]["phase"] == "Active"
    found = server.data("/kubernetes/nodes", who="reader")
    assert found["count"] == len(found["nodes"]) and (not cluster.runs_pods or found["nodes"][0]["status"] == "Ready")
    for row in found["nodes"]:
        assert row["version"] and row["capacity"]["cpu"] and row["internal_ip"]
        assert server.data(f"/kubernetes/nodes/{row['name']}")["resource_detail"]["object"]["kind"] == "Node"


def test_definitions_and_what_they_define(server: SystemServer, cluster: Cluster) -> None:
    namespace = namespace_of(cluster, "custom")
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {
        "group": "resources.test",
        "scope": "Namespaced",
        "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
        "versions": [version],
    }
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.resources.test"
    name = "things.resources.test"
    definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    make(cluster, path, {**definition, "metadata": {"name": name}, "spec": spec})
    try:
        for listed in ("crds", "customresourcedefinitions"):
            rows = server.data(f"/kubernetes/{listed}", who="reader")["crds"]
            row = next(row for row in rows if row["name"] == name)
            assert (row["group"], row["version"], row["kind"]) == ("resources.test", "v1", "Thing")
            assert row["scope"] == "Namespaced" and AGE.fullmatch(row["age"])
        assert server.data(f"/kubernetes/crds/{name}")["resource_detail"]["object"]["spec"]["scope"] == "Namespaced"
        collection = f"/apis/resources.test/v1/namespaces/{namespace}/things"
        cluster.wait_for(collection, lambda found: True)
        thing = {"apiVersion": "resources.test/v1", "kind": "Thing", "spec": {"password": SECRET}}
        make(cluster, f"{collection}/t", {**thing, "metadata": {"name": "t"}})
        for place in (f"/{name}/{namespace}", f"/{name}?namespace={namespace}"):
            (row,) = server.data(f"/kubernetes{place}", who="reader")["resources"]
            assert (row["name"], row["kind"], row["api_version"]) == ("t", "Thing", "resources.test/v1")
        detail = server.data(f"/kubernetes/{name}/{namespace}/t")["resource_detail"]
        assert detail["object"]["spec"] == {"password": SECRET}
        detail = server.data(f"/kubernetes/{name}/{namespace}/t", who="reader")["resource_detail"]
        assert detail["object"]["spec"] == {"password": "***"}
        answer = server.api("DELETE", f"/kubernetes/{name}/{namespace}/t")
        assert (answer.status, answer.json["data"]["message"]) == (200, f"Thing {namespace}/t deleted")
        assert server.api("GET", f"/kubernetes/{name}/{namespace}/t").status == 404
    finally:
        assert server.api("DELETE", f"/kubernetes/crds/{name}").status == 200
        cluster.wait_until_gone(path)
    assert server.api("GET", "/kubernetes/nosuch.resources.test").status == 404


@pytest.mark.parametrize(
    "kind",
    [
        "configmaps",
        "secrets",
        "statefulsets",
        "daemonsets",
        "replicasets",
        "jobs",
        "cronjobs",
        "ingresses",
        "events",
        "persistentvolumes",
        "persistentvolumeclaims",
        "serviceaccounts",
    ],
)
def test_further_kinds(server: SystemServer, cluster: Cluster, kind: str) -> None:
    """What a cluster does not have is a 404, as in older ones; the double has few of them."""
    answer = server.api("GET", f"/kubernetes/{kind}")
    if cluster.name == "double" and answer.status == 404:
        assert answer.json["error"]["code"] == "NOT_FOUND"
        return
    assert answer.status == 200, answer
    assert answer.json["data"]["count"] == len(answer.json["data"]["resources"])


def test_secrets_and_maps(server: SystemServer, cluster: Cluster) -> None:
    namespace = namespace_of(cluster, "kept")
    for kind, plural in (("ConfigMap", "configmaps"), ("Secret", "secrets")):
        member = "data" if kind == "ConfigMap" else "stringData"
        content = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}, member: {"password": SECRET}}
        make(cluster, f"/api/v1/namespaces/{namespace}/{plural}/x", content)
    (row,) = [row for row in server.data(f"/kubernetes/configmaps/{namespace}")["resources"] if row["name"] == "x"]
    assert row["columns"] == {"data": "1"}
    detail = server.data(f"/kubernetes/configmaps/{namespace}/x")["resource_detail"]
    assert detail["object"]["data"] == {"password": SECRET}
    detail = server.data(f"/kubernetes/configmaps/{namespace}/x", who="reader")["resource_detail"]
    assert detail["object"]["data"] == {"password": "***"}
    detail = server.data(f"/kubernetes/secrets/{namespace}/x")["resource_detail"]
    assert list(detail["object"]["data"]) == ["password"] and detail["columns"]["data"] == "1"
    for path in ("", f"/{namespace}", f"/{namespace}/x"):
        answer = server.api("GET", f"/kubernetes/secrets{path}", who="reader")
        assert (answer.status, answer.json["error"]["code"]) == (403, "PERMISSION_DENIED")


def test_one_object(server: SystemServer, cluster: Cluster) -> None:
    namespace = namespace_of(cluster, "one")
    make_pod(cluster, namespace, "p", annotations={"a": SECRET})
    make_deployment(cluster, namespace)
    make_service(cluster, namespace)
    detail = server.data(f"/kubernetes/pods/{namespace}/p")["pod_detail"]
    assert (detail["name"], detail["ready"]) == ("p", "0/1")
    assert detail["object"]["spec"]["containers"][0]["env"] == CONTAINER["env"]
    assert detail["object"]["metadata"]["annotations"] == {"a": SECRET}
    detail = server.data(f"/kubernetes/deployments/{namespace}/web")["deployment_detail"]
    assert detail["replicas"] == 3 and SECRET in str(detail["object"])
    assert server.data(f"/kubernetes/services/{namespace}/web")["service_detail"]["object"]["spec"]["ports"]
    for path in (f"pods/{namespace}/p", f"deployments/{namespace}/web", f"services/{namespace}/web"):
        shown = server.data(f"/kubernetes/{path}", who="reader")
        assert SECRET not in str(shown) and namespace in str(shown)
    answer = server.api("GET", f"/kubernetes/pods/{namespace}/none")
    assert (answer.status, answer.json["error"]["code"]) == (404, "NOT_FOUND")


def test_deletion(server: SystemServer, cluster: Cluster) -> None:
    namespace = namespace_of(cluster, "ends")
    make_deployment(cluster, namespace)
    make_service(cluster, namespace)
    make_pod(cluster, namespace, "p")
    path = f"/kubernetes/services/{namespace}/web"
    assert server.api("DELETE", path, who="reader").status == 403
    tried = server.api("DELETE", f"{path}?dryRun=All")
    assert tried.json["data"]["message"] == f"Service {namespace}/web would be deleted"
    gone = server.api("DELETE", path)
    assert gone.json["data"] == {
        "kind": "Service",
        "namespace": namespace,
        "name": "web",
        "message": f"Service {namespace}/web deleted",
        "success": True,
    }
    assert server.api("DELETE", path).status == 404
    answer = server.api("DELETE", f"/kubernetes/deployments/{namespace}/web?propagationPolicy=Background")
    assert answer.status == 200, answer
    answer = server.api("DELETE", f"/kubernetes/pods/{namespace}/p?gracePeriodSeconds=0")
    assert answer.json["data"]["message"] == f"Pod {namespace}/p deleted"
    cluster.wait_until_gone(f"/api/v1/namespaces/{namespace}/pods/p")
    answer = server.api("DELETE", f"/kubernetes/namespaces/{namespace}")
    assert (answer.status, answer.json["data"]["message"]) == (200, f"Namespace {namespace} is being deleted")
    assert server.api("DELETE", "/kubernetes/namespaces/there-is-none").status == 404


def test_a_rollout(server: SystemServer, cluster: Cluster) -> None:
    namespace = namespace_of(cluster, "rolls")
    make_deployment(cluster, namespace)
    path = f"/kubernetes/deployments/{namespace}/web/rollout"
    assert server.api("PATCH", f"{path}/restart", who="reader").status == 403
    answer = server.api("PATCH", f"{path}/restart")
    assert answer.status == 200 and answer.json["data"]["kind"] == "Deployment", answer
    found = server.data(f"/kubernetes/deployments/{namespace}/web")["deployment_detail"]["object"]
    annotations = found["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"kubectl.kubernetes.io/restartedAt": answer.json["data"]["restarted_at"]}
    status = server.data(f"{path}/status", who="reader")
    assert status["complete"] is False and status["message"]
    assert server.api("PATCH", f"/kubernetes/deployments/{namespace}/none/rollout/restart").status == 404
    assert server.api("GET", f"/kubernetes/statefulsets/{namespace}/none/rollout/status").status == 404


def test_numbers_of_pods(server: SystemServer, cluster: Cluster) -> None:
    namespace = namespace_of(cluster, "numbers")
    make_deployment(cluster, namespace)
    path = f"/kubernetes/deployments/{namespace}/web"
    assert server.api("PATCH", f"{path}/scale", {"replicas": 1}, who="reader").status == 403
    answer = server.api("PATCH", f"{path}/scale", {"replicas": 0})
    assert answer.status == 200, answer
    assert (answer.json["data"]["kind"], answer.json["data"]["replicas"]) == ("Deployment", 0)
    assert server.data(path)["deployment_detail"]["replicas"] == 0
    assert server.api("PATCH", f"/kubernetes/statefulsets/{namespace}/none/scale", {"replicas": 1}).status == 404


def test_by_who_may_less(cluster: Cluster, tmp_path: Path) -> None:
    namespace = namespace_of(cluster, "rights")
    make_service(cluster, namespace)
    with server_of(cluster, tmp_path / "viewer", "viewer") as server:
        assert names(server.data(f"/kubernetes/services/{namespace}")["services"]) == ["web"]
        refused = [
            ("DELETE", f"/kubernetes/services/{namespace}/web", None),
            ("GET", f"/kubernetes/secrets/{namespace}", None),
            ("POST", "/kubernetes/pods", pod(namespace, "p")),
        ]
        for method, path, body in refused:
            answer = server.api(method, path, body)
            assert (answer.status, answer.json["error"]["code"]) == (403, "PERMISSION_DENIED"), answer
            assert "viewer" in answer.json["error"]["message"]


def maps(namespace: str, names: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace},
            "data": {"a": "b"},
        }
        for name in names
    ]


@pytest.fixture(scope="module")
def its_server(its_double: Double, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    """A server that uses the double alone."""
    with server_of(its_double, tmp_path_factory.mktemp("its-server")) as server:
        yield server


def test_what_was_forgotten(its_double: Double, its_server: SystemServer) -> None:
    namespace = namespace_of(its_double, "forgotten")
    wanted = [f"m{number}" for number in range(3)]
    its_double.put(("", "v1", "configmaps"), maps(namespace, wanted))
    page = its_server.data(f"/kubernetes/configmaps/{namespace}?limit=1")
    its_double.compact()
    answer = its_server.api("GET", f"/kubernetes/configmaps/{namespace}?limit=1&continue={page['continue']}")
    assert (answer.status, answer.json["error"]["code"]) == (400, "INVALID_INPUT")
    assert names(its_server.data(f"/kubernetes/configmaps/{namespace}")["resources"]) == wanted


def test_several_pages_of_the_clusters(its_double: Double, its_server: SystemServer) -> None:
    """The second one is too old at first, and the list is begun anew."""
    namespace = namespace_of(its_double, "many")
    wanted = [f"m{number:04}" for number in range(600)]
    its_double.put(("", "v1", "configmaps"), maps(namespace, wanted))
    its_double.fail(410, "Expired", "The provided continue parameter is too old", after=1)
    found = its_server.data(f"/kubernetes/configmaps?namespace={namespace}")
    assert (names(found["resources"]), found["count"], found["continue"]) == (wanted, 600, "")
    its_double.fail(500, "InternalError", "etcdserver: request timed out")
    answer = its_server.api("GET", "/kubernetes/pods")
    assert (answer.status, answer.json["error"]["code"]) == (503, "KUBERNETES_ERROR")
    assert "etcdserver" in answer.json["error"]["message"]
