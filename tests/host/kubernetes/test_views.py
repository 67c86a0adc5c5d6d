"""Deployments, services, nodes and the rest as kubectl shows them."""

import json
from typing import Any

import pytest

from appliance.host.kubernetes.errors import ClusterError
from appliance.host.kubernetes.kinds import BUILT_IN, DEFINITIONS, DEPLOYMENTS, NAMESPACES, NODES, SERVICES, Kind
from appliance.host.kubernetes.views import common_view, view_of

CREATED = {"creationTimestamp": "1970-01-01T00:00:00Z"}
NOW = 172_800.0


def shown(kind: Kind, **members: Any) -> Any:
    content = {"metadata": {"name": "x", "namespace": "n", "labels": {"a": "b"}, **CREATED}, **members}
    found = view_of(kind).of(json.dumps(content).encode(), NOW)
    assert (found.name, found.age, found.created_at, found.labels) == ("x", "2d", "1970-01-01T00:00:00Z", {"a": "b"})
    return found


def kind_named(name: str) -> Kind:
    if name == "cronjobs":
        return Kind("batch", "v1beta1", "cronjobs", "CronJob")
    return next(kind for kind in BUILT_IN if kind.plural == name)


def columns(name: str, **members: Any) -> dict[str, str]:
    found: dict[str, str] = shown(kind_named(name), **members).columns
    return found


def test_a_deployment() -> None:
    template = {"spec": {"containers": [{"name": "c", "image": "web:1"}], "initContainers": [{"image": "no"}]}}
    spec: dict[str, Any] = {
        "replicas": 3,
        "strategy": {"type": "RollingUpdate"},
        "template": template,
        "selector": {
            "matchLabels": {"b": "2", "a": "1"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["y", "x"]},
                {"key": "env", "operator": "NotIn", "values": ["z"]},
                {"key": "there", "operator": "Exists"},
                {"key": "gone", "operator": "DoesNotExist"},
            ],
        },
    }
    status = {"replicas": 4, "readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2}
    found = shown(DEPLOYMENTS, spec=spec, status=status)
    assert (found.ready, found.replicas, found.ready_replicas) == ("2/3", 3, 2)
    assert (found.updated_replicas, found.available_replicas, found.strategy) == (1, 2, "RollingUpdate")
    assert found.images == ["web:1"]
    assert found.selector == "a=1,b=2,tier in (x,y),env notin (z),there,!gone"
    bare = shown(DEPLOYMENTS)
    assert (bare.ready, bare.images, bare.selector) == ("0/1", [], "")


@pytest.mark.parametrize(
    ("spec", "status", "external"),
    [
        ({"type": "ClusterIP"}, None, []),
        ({"type": "ClusterIP", "externalIPs": ["1.2.3.4"]}, None, ["1.2.3.4"]),
        ({"type": "LoadBalancer"}, None, ["<pending>"]),
        (
            {"type": "LoadBalancer", "externalIPs": ["1.1.1.1"]},
            {"loadBalancer": {"ingress": [{"ip": "2.2.2.2"}, {"hostname": "lb.example"}]}},
            ["2.2.2.2", "lb.example", "1.1.1.1"],
        ),
        ({"type": "ExternalName", "externalName": "else.example"}, None, ["else.example"]),
    ],
)
def test_a_service(spec: dict[str, Any], status: Any, external: list[str]) -> None:
    ports = [{"port": 80, "nodePort": 30080, "targetPort": "http"}, {"port": 53, "protocol": "UDP"}]
    found = shown(SERVICES, spec={**spec, "ports": ports, "selector": {"app": "web"}}, status=status)
    assert found.external_ips == external
    assert (found.type, found.ports, found.selector) == (spec["type"], ["80:30080/TCP", "53/UDP"], "app=web")


def test_nodes() -> None:
    status = {
        "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "InternalIP", "address": "fd00::1"}],
        "nodeInfo": {"kubeletVersion": "v1.20.2", "osImage": "Debian"},
        "capacity": {"cpu": "2"},
    }
    found = shown(NODES, spec={"unschedulable": True}, status=status)
    assert (found.status, found.internal_ip, found.version) == ("Ready,SchedulingDisabled", "10.0.0.1", "v1.20.2")
    assert (found.os_image, found.capacity, found.roles) == ("Debian", {"cpu": "2"}, [])
    labels = {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/etcd": "", "kubernetes.io/role": "x"}
    raw = json.dumps({"metadata": {"name": "y", "labels": labels}}).encode()
    other = view_of(NODES).of(raw, NOW)
    assert (other.status, other.roles, other.age) == ("Unknown", ["etcd", "worker", "x"], "<unknown>")


def test_namespaces_and_definitions() -> None:
    assert shown(NAMESPACES, status={"phase": "Active"}).status == "Active"
    versions = [
        {"name": "v1", "served": True, "storage": True},
        {"name": "v1beta1", "served": True, "storage": False},
        {"name": "v1alpha1", "served": False, "storage": False},
    ]
    names = {"kind": "Certificate", "plural": "certificates"}
    spec = {"group": "cert-manager.io", "scope": "Namespaced", "names": names, "versions": versions}
    found = shown(DEFINITIONS, spec=spec)
    assert (found.group, found.version, found.kind, found.scope) == (
        "cert-manager.io",
        "v1",
        "Certificate",
        "Namespaced",
    )
    assert found.versions == ["v1", "v1beta1"]


def test_columns_of_what_runs_pods() -> None:
    template = {"spec": {"containers": [{"image": "a:1"}, {"image": "b:1"}]}}
    spec = {"replicas": 2, "template": template}
    status = {"replicas": 2, "readyReplicas": 1}
    assert columns("statefulsets", spec=spec, status=status) == {"ready": "1/2", "images": "a:1,b:1"}
    assert columns("replicasets", spec=spec, status=status)["current"] == "2"
    daemons = {"desiredNumberScheduled": 3, "numberReady": 2, "numberAvailable": 1}
    assert columns("daemonsets", spec=spec, status=daemons) == {
        "desired": "3",
        "current": "0",
        "ready": "2",
        "up-to-date": "0",
        "available": "1",
        "images": "a:1,b:1",
    }
    took = {"startTime": "1970-01-01T00:00:00Z", "completionTime": "1970-01-01T00:00:07Z", "succeeded": 1}
    assert columns("jobs", spec={"completions": 2}, status=took) == {"completions": "1/2", "duration": "7s"}
    assert columns("jobs", spec={"parallelism": 3}) == {"completions": "0/1 of 3", "duration": ""}
    cron = {"schedule": "* * * * *", "suspend": True}
    assert columns("cronjobs", spec=cron, status={"active": [{}]}) == {
        "schedule": "* * * * *",
        "suspend": "True",
        "active": "1",
        "last schedule": "<none>",
    }


def test_columns_of_what_is_kept() -> None:
    assert columns("configmaps", data={"a": "1"}, binaryData={"b": "Mg=="}) == {"data": "2"}
    assert columns("secrets", data={"a": "MQ=="}, type="Opaque") == {"type": "Opaque", "data": "1"}
    assert columns("serviceaccounts", secrets=[{"name": "t"}]) == {"secrets": "1"}
    volume = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
        "claimRef": {"namespace": "n", "name": "c"},
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "fast",
    }
    found = columns("persistentvolumes", spec=volume, status={"phase": "Bound"})
    assert (found["capacity"], found["access modes"], found["claim"]) == ("1Gi", "RWO,ROX", "n/c")
    claim = {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"]}
    found = columns("persistentvolumeclaims", spec={"volumeName": "v"}, status=claim)
    assert (found["volume"], found["access modes"], found["storageclass"]) == ("v", "RWX", "")


def test_columns_of_ingresses_and_events() -> None:
    spec = {"ingressClassName": "nginx", "rules": [{"host": "a.example"}, {"host": "b.example"}], "tls": [{}]}
    assert columns("ingresses", spec=spec, status={"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}) == {
        "class": "nginx",
        "hosts": "a.example,b.example",
        "address": "1.2.3.4",
        "ports": "80, 443",
    }
    event = {
        "involvedObject": {"kind": "Pod", "name": "p"},
        "type": "Warning",
        "reason": "BackOff",
        "message": "Back-off\n",
        "count": 4,
        "firstTimestamp": "1970-01-01T00:00:00Z",
        "lastTimestamp": "1970-01-02T23:59:00Z",
        "eventTime": None,
    }
    found = columns("events", **event)
    assert found == {
        "last seen": "60s",
        "type": "Warning",
        "reason": "BackOff",
        "object": "pod/p",
        "count": "4",
        "message": "Back-off",
    }


def test_other_kinds_have_none() -> None:
    kind = Kind("example.com", "v1", "things", "Thing", built_in=False)
    found = shown(kind, spec={"secret": "x"})
    assert (found.api_version, found.kind, found.namespace, found.columns) == ("example.com/v1", "Thing", "n", {})
    assert kind.name == "things.example.com"


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda kind: kind.plural)
def test_what_is_not_there_yet(kind: Kind) -> None:
    for empty in ({"metadata": {"name": "x"}}, {"metadata": {"name": "x"}, "spec": {}, "status": {}}):
        assert view_of(kind).of(json.dumps(empty).encode(), NOW).name == "x"
        assert common_view(kind).of(json.dumps(empty).encode(), NOW).name == "x"


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b'{"metadata":1}', b'{"metadata":{"name":1}}', b"\xff", b'{"x":' + b"[" * 5000]
)
def test_what_is_no_object(body: bytes) -> None:
    with pytest.raises(ClusterError, match="cannot be understood"):
        view_of(DEPLOYMENTS).of(body, NOW)
