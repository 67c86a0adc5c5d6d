"""The requests by which the double is held against a real server."""

import json
from typing import Any

from tests.support.kubernetes.likeness import Step

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
_CORE = "/api/v1/namespaces/{ns}"
_APPS = "/apis/apps/v1/namespaces/{ns}"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_WIDGETS = "/apis/widgets.example/v1/namespaces/{ns}/widgets"
# A pod that no scheduler takes up, so that nobody but the server changes it.
_LEFT = {"schedulerName": "nobody"}


def _get(path: str, who: str | None = "admin", without: tuple[str, ...] = (), **query: str) -> Step:
    return Step("GET", path, query=query, who=who, without=without)


def _apply(path: str, body: Any, manager: str = "one", who: str = "admin", **query: Any) -> Step:
    more: dict[str, Any] = {each: query.pop(each) for each in ("only", "without", "until") if each in query}
    asked = {"fieldManager": manager, **query} if manager else query
    return Step("PATCH", path, body, asked, who, APPLY, **more)


def _object(kind: str, name: str, version: str = "v1", **content: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **content}


def _map(name: str = "c1", **data: Any) -> dict[str, Any]:
    return _object("ConfigMap", name, data=data) if data else _object("ConfigMap", name)


def _labelled(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}


def _container(**more: Any) -> dict[str, Any]:
    return {"name": "main", "image": "bb:1", **more}


def _pod(name: str = "p1", *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return _object("Pod", name, spec={"containers": list(containers or [_container()]), **_LEFT, **spec})


def _deployment(name: str = "d1", label: str = "x", **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [_container()], **_LEFT}}
    content = {"replicas": 0, "paused": True, "selector": {"matchLabels": {"app": label}}, "template": template}
    return _object("Deployment", name, "apps/v1", spec={**content, **spec})


def _service(name: str = "s1", *ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return _object("Service", name, spec={"ports": list(ports or [{"port": 80, "protocol": "TCP"}]), **spec})


def _widget(**spec: Any) -> dict[str, Any]:
    return _object("Widget", "w1", "widgets.example/v1", spec=spec)


def _definition(name: str = "widgets.widgets.example", **more: Any) -> dict[str, Any]:
    properties = {
        "size": {"type": "integer", "minimum": 1, "maximum": 10},
        "color": {"type": "string", "enum": ["red", "blue"]},
        "parts": {"type": "array", "items": {"type": "string"}},
    }
    spec = {"type": "object", "required": ["size"], "properties": properties}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
    }
    content = {
        "group": "widgets.example",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
        "versions": [version],
        **more,
    }
    return _object("CustomResourceDefinition", name, "apiextensions.k8s.io/v1", spec=content)


def _shared(*containers: dict[str, Any], annotations: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """A part of a Deployment, as one of several managers applies it."""
    metadata = {"name": "d1", **({"annotations": annotations} if annotations is not None else {}), **more}
    spec = {"template": {"spec": {"containers": list(containers)}}} if containers else {}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


_PAGE = {"labelSelector": "n", "limit": "2"}
_SIDE = {"name": "side", "image": "bb:1"}
_RESTART = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2024-01-01"}}}}}
_C1, _P1, _D1, _S1 = f"{_CORE}/configmaps/c1", f"{_CORE}/pods/p1", f"{_APPS}/deployments/d1", f"{_CORE}/services/s1"
_BAD_YAML = ("reason", "code", "kind")

SCENARIOS: dict[str, list[Step]] = {
    "discovery": [
        _get("/api"),
        _get("/apis"),
        _get("/api/v1"),
        _get("/apis/apps/v1"),
        _get("/apis/apps"),
        _get("/apis/apiextensions.k8s.io/v1"),
        _get("/api/v1", "nobody"),
        _get("/apis/nope/v1"),
        _get("/apis/nope"),
        _get("/apis/nope/v1/things"),
        _get("/api/v2"),
        _get("/api/v1/nopes"),
        _get("/apis/apps/v1/nopes"),
        _get("/nope", "nobody"),
    ],
    "rights": [
        _get("/api/v1/pods", None),
        _get("/api/v1/pods", "of-nobody-at-all"),
        _get("/api/v1/pods", "nobody"),
        _get(f"{_CORE}/pods/p1", "nobody"),
        _get(f"{_CORE}/pods/p1", "viewer"),
        _get("/api/v1/secrets", "viewer"),
        _get(f"{_CORE}/secrets/x", "viewer"),
        _get(f"{_APPS}/deployments", "nobody"),
        _get(f"{_CORE}/pods/p1/log", "nobody"),
        _get(f"{_CORE}/pods/p1/exec", "viewer", command="ls"),
        _get("/apis/nope/v1/things", "viewer"),
        _get("/api/v1/pods", "nobody", watch="1"),
        _apply(_P1, _pod(), who="viewer"),
        Step("POST", f"{_CORE}/pods", _pod(), who="viewer"),
        Step("DELETE", _P1, who="viewer"),
        Step("PATCH", _D1, _RESTART, content_type=STRATEGIC, who="viewer"),
        Step("DELETE", "/api/v1/namespaces/{ns}", who="viewer"),
        Step("DELETE", f"{_CORE}/pods", who="viewer"),
    ],
    "apply": [
        _get(_C1),
        _apply(_C1, _map(a="1", b="2")),
        _apply(_C1, _map(a="1", b="2")),
        _apply(_C1, _map(a="2"), "two"),
        _apply(_C1, _map(a="2", b="3"), "two"),
        _apply(_C1, _map(a="2"), "two", force="true"),
        _apply(_C1, _map(a="2", c="3"), "two"),
        _apply(_C1, _map(b="9")),
        _apply(_C1, _map(a="2")),
        _apply(_C1, _map(), "two"),
        _apply(_C1, _map()),
        _apply(_C1, {"apiVersion": "v1", "kind": "ConfigMap"}),
        _apply(_C1, {**_map(), "metadata": {"name": "c1", "resourceVersion": "1"}}),
        _apply(f"{_CORE}/configmaps/c2", _map("c2", a="1"), dryRun="All"),
        _get(f"{_CORE}/configmaps/c2"),
        _apply(f"{_CORE}/secrets/x1", _object("Secret", "x1", stringData={"a": "1"})),
        _apply(f"{_CORE}/secrets/x1", _object("Secret", "x1", data={"a": "Mg=="}), "two"),
    ],
    "refused applies": [
        _apply(_C1, _map(), ""),
        _apply(_C1, _map(), "m" * 129),
        _apply(_C1, _map(), "a\tb"),
        _apply(_C1, _map(), dryRun="Some"),
        _apply(_C1, _map("c2")),
        _apply(_C1, {**_map(), "metadata": {"name": "c1", "namespace": "default"}}),
        _apply(_C1, {**_map(), "apiVersion": "v2"}),
        _apply(_C1, {"metadata": {"name": "c1"}}),
        _apply(_C1, {**_map(), "kind": "Nope"}),
        _apply(_C1, {"apiVersion": "v1", "metadata": {"name": "c1"}}),
        _apply(_C1, b'{"apiVersion": "v1", bad', only=_BAD_YAML),
        _apply(_C1, b"[1]"),
        _apply(_C1, b"text"),
        _apply(_C1, {**_map(), "nope": 1}),
        _apply(_C1, {**_map(), "data": [1]}, only=_BAD_YAML),
        _apply(_C1, _map(a=1), only=_BAD_YAML),
        _apply(_C1, {**_map(), "metadata": {"name": "c1", "labels": {"a b": "c"}}}),
        _apply(_C1, {**_map(), "metadata": {"name": "c1", "labels": {"a": "b c"}}}),
        _apply(_C1, {**_map(), "metadata": {"name": "c1", "managedFields": [{"manager": "x"}]}}),
        _apply(f"{_CORE}/configmaps/C_1", _map("C_1")),
        _apply("/api/v1/namespaces/of-nobody/configmaps/c1", _map()),
        _apply(f"{_CORE}/configmaps/big", _map("big", a="x" * 1_200_000)),
        _apply(f"{_CORE}/configmaps/big", _map("big", a="x" * 3_200_000)),
        _apply(f"{_CORE}/configmaps", _map()),
        _apply("/api/v1/namespaces/N_1", _object("Namespace", "N_1")),
        Step("PATCH", _C1, _map(), {"fieldManager": "one"}, content_type="application/json"),
        Step("PATCH", _C1, _map(), {"fieldManager": "one"}, content_type="text/plain"),
    ],
    "pods": [
        _apply(_P1, _pod("p1", _container(command=["sleep", "1"], ports=[{"containerPort": 80}]))),
        _apply(_P1, _pod("p1", _container(command=["sleep", "1"], ports=[{"containerPort": 80}]))),
        _apply(_P1, _pod("p1", _container(image="bb:2")), "two"),
        _apply(_P1, _pod("p1", _container(image="bb:2")), "two", force="true"),
        _apply(_P1, _pod("p1", _container(command=["sleep", "2"])), "two", force="true"),
        _apply(_P1, _pod(nope=1)),
        _apply(_P1, _pod("p1", _container(nope=1))),
        _apply(_P1, _pod("p1", _container(ports=[{"containerPort": "x"}]))),
        _apply(f"{_CORE}/pods/p2", _pod("p2", _container(env=[{"name": "A", "value": "1"}], image="bb"))),
        _apply(f"{_CORE}/pods/p3", _object("Pod", "p3", spec={"schedulerName": "nobody"})),
        _apply(f"{_CORE}/pods/p3", _pod("p3", {"name": "main"})),
        _apply(f"{_CORE}/pods/p3", _pod("p3", {"name": "M_1", "image": "bb:1"})),
        _apply(f"{_CORE}/pods/p3", _pod("p3", {"image": "bb:1"})),
        _apply(f"{_CORE}/pods/p3", _pod("p3", _container(ports=[{"containerPort": 99999}]))),
        _apply(f"{_CORE}/pods/p3", _pod("p3", restartPolicy="Perhaps")),
        _apply(f"{_CORE}/pods/P_3", _pod("P_3")),
        Step("POST", f"{_CORE}/pods", {}),
        Step("POST", f"{_CORE}/pods", _pod("p1")),
        Step("POST", f"{_CORE}/pods", _pod("p4"), {"fieldManager": "one"}),
        _get(f"{_CORE}/pods/p1/log"),
        _get(f"{_CORE}/pods/p1/log", tailLines="-1"),
        _get(f"{_CORE}/pods/p1/log", tailLines="x"),
        _get(f"{_CORE}/pods/p1/log", sinceSeconds="0"),
        _get(f"{_CORE}/pods/p1/log", container="nope"),
        _get(f"{_CORE}/pods/nope/log"),
        _get(f"{_CORE}/pods/nope/exec", command="ls"),
        _get(f"{_CORE}/pods/nope/nope"),
        Step("DELETE", _P1),
        _get(_P1),
        Step("DELETE", _P1),
        Step("DELETE", f"{_CORE}/pods/p2", {"preconditions": {"uid": "1"}}, only=("reason", "code", "details")),
    ],
    "deployments": [
        _apply(_D1, _deployment(), without=("status",)),
        _apply(_D1, _deployment(replicas=1), "two"),
        _apply(_D1, _deployment(label="y")),
        _apply(f"{_APPS}/deployments/d2", _object("Deployment", "d2", "apps/v1", spec={"replicas": 1})),
        _apply(f"{_APPS}/deployments/d2", _deployment("d2", label="y")),
        _apply(f"{_APPS}/deployments/d2", _deployment("d2", replicas=-1)),
        Step("PATCH", _D1, _RESTART, {"fieldManager": "two"}, content_type=STRATEGIC, without=("status",)),
        Step("PATCH", _D1, _RESTART, {"fieldManager": "two"}, content_type=STRATEGIC, without=("status",)),
        Step("PATCH", f"{_APPS}/deployments/nope", _RESTART, content_type=STRATEGIC),
        Step("PATCH", _D1, {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 2}}, content_type=MERGE),
        Step("PATCH", _D1, {"spec": {"replicas": "x"}}, content_type=MERGE, only=("code",)),
        Step("DELETE", _D1),
        Step("DELETE", f"{_APPS}/deployments/nope"),
    ],
    "shared objects": [
        _apply(_D1, _deployment(), without=("status",)),
        _apply(_D1, _shared(_SIDE, annotations={"a": "1", "b": "2"}), "two", without=("status",)),
        _apply(_D1, _shared({**_SIDE, "env": [{"name": "A", "value": "1"}]}), "three", without=("status",)),
        _apply(_D1, _shared({"name": "main", "env": [{"name": "B", "value": "1"}]}), "four", without=("status",)),
        _apply(_D1, _shared({"name": "main", "image": "bb:2"}), "four"),
        _apply(_D1, _shared({"name": "main", "env": [{"name": "C", "value": "2"}]}), "four", without=("status",)),
        _apply(_D1, _shared(annotations={"b": "2"}), "two", without=("status",)),
        _apply(_D1, _shared(annotations={}), "three", without=("status",)),
        _apply(_D1, _shared(annotations={"b": "3", "c": "4"}), "five"),
        _apply(_D1, _shared(annotations={"b": "3", "c": "4"}), "five", force="true", without=("status",)),
        _apply(_D1, _shared(annotations={"b": "3"}, finalizers=["a.example/x"]), "five", without=("status",)),
        _apply(_D1, _shared(finalizers=["a.example/y"]), "six", without=("status",)),
        _apply(_D1, _shared(), "five", without=("status",)),
        _apply(_D1, _shared({"name": "main", "command": ["a"]}), "seven", without=("status",)),
        _apply(_D1, _shared({"name": "main", "command": ["a", "b"]}), "eight"),
        _apply(_D1, _shared({"name": "main", "command": ["a"]}), "eight", without=("status",)),
        _apply(_D1, _shared(annotations={"c": "5", "b": "4"}), "nine", without=("status",)),
        Step("DELETE", _D1, without=("status",)),
        _get(_D1, without=("status",)),
        _apply(_D1, _shared(), "six", without=("status",)),
        Step("GET", _D1, until=404),
        _apply(_S1, _service("s1", *({"port": p, "name": f"p{p}", "protocol": "TCP"} for p in (80, 81)))),
        _apply(_S1, _service("s1", *({"port": p, "name": f"p{p}", "protocol": "TCP"} for p in (81, 82)))),
        _apply(_S1, _service("s1", {"port": 83, "name": "p83", "protocol": "TCP"}), "two"),
        _apply(_S1, _service("s1", {"port": 81, "name": "p81", "protocol": "TCP"})),
    ],
    "services": [
        _apply(_S1, _service("s1", {"port": 80, "protocol": "TCP", "targetPort": 8080}, selector={"app": "x"})),
        _apply(_S1, _service("s1", {"port": 80, "protocol": "TCP", "targetPort": 8080}, selector={"app": "x"})),
        _apply(_S1, _service("s1", clusterIP="10.0.0.250")),
        _apply(f"{_CORE}/services/s2", _service("s2", type="NodePort")),
        _apply(f"{_CORE}/services/s3", _service("s3", clusterIP="None")),
        _apply(f"{_CORE}/services/s4", _service("s4", type="Nope")),
        _apply(f"{_CORE}/services/s4", _service("s4", *({"port": p, "protocol": "TCP"} for p in (80, 81)))),
        _apply(f"{_CORE}/services/s4", _service("s4", {"port": 0, "protocol": "TCP"})),
        _apply(f"{_CORE}/services/s4", _service("s4", {"port": 80})),
        _apply(f"{_CORE}/services/s4", _object("Service", "s4", spec={"selector": {"app": "x"}})),
        _apply(f"{_CORE}/services/S_1", _service("S_1")),
        Step("DELETE", _S1),
        _get(_S1),
    ],
    "definitions": [
        _apply(f"{_DEFINITIONS}/wrong.example", _definition("wrong.example")),
        _apply(f"{_DEFINITIONS}/widgets.widgets.example", _definition(scope="Nowhere")),
        _get(_WIDGETS),
        _apply(f"{_DEFINITIONS}/widgets.widgets.example", _definition(), without=("status",)),
        Step("GET", "/apis/widgets.example/v1", until=200),
        _get("/apis/widgets.example"),
        _get(f"{_DEFINITIONS}/widgets.widgets.example"),
        _get(_WIDGETS),
        _apply(f"{_WIDGETS}/w1", _widget(size=3, color="red", parts=["a"]), until=201),
        _apply(f"{_WIDGETS}/w1", _widget(size=3, color="red", parts=["a"])),
        _apply(f"{_WIDGETS}/w1", _widget(size=4, color="red"), "two"),
        _apply(f"{_WIDGETS}/w1", _widget(size=4), "two", force="true"),
        _apply(f"{_WIDGETS}/w1", _widget(size=4)),
        _apply(f"{_WIDGETS}/w1", _widget(size=30), "two"),
        _apply(f"{_WIDGETS}/w1", _widget(size=4, color="green"), "two"),
        _apply(f"{_WIDGETS}/w2", {**_widget(color="red"), "metadata": {"name": "w2"}}),
        _apply(f"{_WIDGETS}/w1", _widget(size="x"), "two"),
        _apply(f"{_WIDGETS}/w1", _widget(size=4, nope=1), "two"),
        _get(_WIDGETS),
        Step("PATCH", f"{_WIDGETS}/w1", {"spec": {"size": 5}}, {"fieldManager": "three"}, content_type=MERGE),
        Step("PATCH", f"{_WIDGETS}/w1", {"spec": {"size": 5}}, content_type=STRATEGIC),
        Step("DELETE", f"{_WIDGETS}/w1"),
        _get(f"{_WIDGETS}/w1"),
        Step("DELETE", f"{_DEFINITIONS}/widgets.widgets.example"),
        Step("GET", f"{_DEFINITIONS}/widgets.widgets.example", until=404),
        Step("GET", _WIDGETS, until=404),
    ],
    "lists": [
        *(_apply(f"{_CORE}/configmaps/c{n}", _labelled(f"c{n}", odd=str(n % 2), n=str(n))) for n in range(5)),
        _get(f"{_CORE}/configmaps", labelSelector="n"),
        _get(f"{_CORE}/configmaps", labelSelector="n", limit="2"),
        Step("GET", f"{_CORE}/configmaps", query={**_PAGE, "continue": "{continue}"}),
        Step("GET", f"{_CORE}/configmaps", query={**_PAGE, "continue": "{continue}"}),
        _get(f"{_CORE}/configmaps", labelSelector="odd=1"),
        _get(f"{_CORE}/configmaps", labelSelector="odd!=1,n"),
        _get(f"{_CORE}/configmaps", labelSelector="n in (1, 2),odd notin (0)"),
        _get(f"{_CORE}/configmaps", labelSelector="!n,odd"),
        _get(f"{_CORE}/configmaps", fieldSelector="metadata.name=c3"),
        _get(f"{_CORE}/configmaps", labelSelector="n", fieldSelector="metadata.name!=c3", limit="3"),
        _get(f"{_CORE}/configmaps", labelSelector="a b c"),
        _get(f"{_CORE}/configmaps", fieldSelector="nope=1"),
        _get(f"{_CORE}/configmaps", fieldSelector="x"),
        _get(f"{_CORE}/configmaps", limit="x"),
        Step("GET", f"{_CORE}/configmaps", query={"continue": "x"}, only=("reason", "code")),
        _get(f"{_CORE}/configmaps", watch="1", resourceVersion="x"),
        _get("/api/v1/namespaces/of-nobody/configmaps"),
        _get(f"{_CORE}/pods"),
        Step("POST", f"{_CORE}/events", _object(
            "Event", "e1", involvedObject={"kind": "Pod", "name": "p1", "namespace": "{ns}"}, reason="Tried",
            message="once", type="Normal",
        ), {"fieldManager": "one"}),
        _get(f"{_CORE}/events", fieldSelector="involvedObject.name=p1"),
        _get(f"{_CORE}/events", fieldSelector="involvedObject.name=p2"),
    ],
    "patches": [
        Step("POST", f"{_CORE}/configmaps", _map(a="1"), {"fieldManager": "one"}),
        Step("POST", f"{_CORE}/configmaps", _map(a="1"), {"fieldManager": "one"}),
        Step("PATCH", _C1, {"data": {"b": "1"}}, {"fieldManager": "two"}, content_type=MERGE),
        Step("PATCH", _C1, {"data": {"b": None}}, {"fieldManager": "two"}, content_type=MERGE),
        Step("PATCH", _C1, {"data": {"b": "2"}}, {"fieldManager": "three"}, content_type=STRATEGIC),
        Step("PATCH", _C1, {"data": {"b": "2"}}, {"fieldManager": "three"}, content_type=STRATEGIC),
        Step("PATCH", _C1, {"metadata": {"labels": {"x": "y"}}}, {"fieldManager": "three"}, content_type=MERGE),
        _apply(_C1, _map(b="3"), "four"),
        _apply(_C1, _map(b="3"), "four", force="true"),
        Step("PATCH", _C1, b'{"data":', {"fieldManager": "two"}, content_type=MERGE, only=("code",)),
        Step("PATCH", _C1, {}, {"force": "true"}, content_type=MERGE),
        Step("DELETE", _C1, {"propagationPolicy": "Foreground"}, only=("none",)),
    ],
    "namespaces": [
        _get("/api/v1/namespaces/{ns}"),
        _apply("/api/v1/namespaces/{ns}", _object("Namespace", "{ns}")),
        _apply(_C1, _map(a="1")),
        Step("DELETE", "/api/v1/namespaces/{ns}"),
        _apply(f"{_CORE}/configmaps/c2", _map("c2", a="1")),
        Step("GET", "/api/v1/namespaces/{ns}", until=404),
        _get(_C1),
        Step("DELETE", "/api/v1/namespaces/{ns}"),
        _apply(_C1, _map(a="1")),
    ],
}  # fmt: skip


def describe(step: Step) -> str:
    """A step in one line, for messages."""
    return f"{step.method} {step.path} {json.dumps(dict(step.query))} as {step.who}"
