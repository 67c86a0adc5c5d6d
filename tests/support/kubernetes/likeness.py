"""What is asked of a double and of a real server alike, and how their answers are made comparable.

The real server's answers lie in `tests/real/kubernetes/answers.json`; `recording.py` writes them.
"""

import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.kubernetes.cluster import Cluster, Query
from tests.support.kubernetes.kinds import BUILT_IN

# What the world decides, not the server's ways.
_VARYING = {
    "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "time", "lastTransitionTime", "clusterIP",
    "clusterIPs", "nodePort", "serverAddress", "continue",
}  # fmt: skip
_KINDS = {
    name for kind in BUILT_IN for name in (kind.plural, *(f"{kind.plural}/{each}" for each in kind.subresources))
} | {"widgets"}
_GROUPS = {kind.group for kind in BUILT_IN} | {"widgets.example"}
_CONTROLLERS = {"kube-controller-manager", "kube-scheduler", "kubelet"}
_GO_DIFFERENCE = re.compile(r"\n  core\.PodSpec\{.*\n  \}\n", re.DOTALL)
_SECONDS = 30


@dataclass(frozen=True)
class Step:
    """One request. `{ns}` in path and body is the scenario's namespace, `{continue}` the last page's token.

    `only` are the keys of the answer that are compared, all where it is empty; `without` are left out. With `until`, it
    is asked until the answer has that status: what takes a moment.
    """

    method: str
    path: str
    body: Any = None
    query: Query = field(default_factory=dict)
    who: str | None = "admin"
    content_type: str = "application/json"
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    until: int = 0


Answer = dict[str, Any]


def play(cluster: Cluster, steps: list[Step]) -> Iterator[tuple[Step, Answer]]:
    """Ask everything of a scenario, in a namespace of its own; each step with its comparable answer."""
    namespace = f"likeness-{uuid.uuid4().hex[:8]}"
    cluster.namespace(namespace)
    token = ""
    for step in steps:
        path = step.path.replace("{ns}", namespace)
        body = _filled(step.body, namespace)
        query = {name: value.replace("{continue}", token) for name, value in dict(step.query).items()}
        deadline = time.monotonic() + _SECONDS
        while True:
            reply = cluster.request(step.method, path, body, step.content_type, query=query, who=step.who)
            if not step.until or reply.status == step.until or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        is_json = reply.content_type.startswith("application/json")
        found: Any = reply.json if is_json else reply.body.decode()
        if isinstance(found, dict):
            token = found.get("metadata", {}).get("continue") or token
            if step.only:
                found = {name: value for name, value in found.items() if name in step.only}
            found = {name: value for name, value in found.items() if name not in step.without}
        text = json.dumps(comparable(found)).replace(namespace, "{ns}")
        yield step, {"status": reply.status, "type": reply.content_type, "body": json.loads(text)}


def _filled(body: Any, namespace: str) -> Any:
    if body is None or isinstance(body, bytes):
        return body
    return json.loads(json.dumps(body).replace("{ns}", namespace))


def comparable(value: Any) -> Any:
    """An answer without what differs from server to server."""
    if isinstance(value, dict):
        return {
            name: "…" if name in _VARYING and each not in (None, "", "None") else comparable(_chosen(name, each))
            for name, each in value.items()
            if name != "storageVersionHash"
        }
    if isinstance(value, list):
        return [comparable(each) for each in value]
    return _GO_DIFFERENCE.sub("", value) if isinstance(value, str) else value


def _chosen(name: str, value: Any) -> Any:
    """Of lists, what is the double's as well; in an order that does not depend on the moment."""
    if name == "resources" and isinstance(value, list):
        return sorted((each for each in value if each["name"] in _KINDS), key=lambda each: str(each["name"]))
    if name == "groups" and isinstance(value, list):
        return sorted((each for each in value if each["name"] in _GROUPS), key=lambda each: str(each["name"]))
    if name == "versions" and isinstance(value, list):
        return [each for each in value if not isinstance(each, dict) or "beta" not in each.get("version", "")]
    if name == "managedFields" and isinstance(value, list):
        kept = [each for each in value if each["manager"] not in _CONTROLLERS]
        return sorted(kept, key=lambda each: (str(each["operation"]), str(each["manager"])))
    return value
