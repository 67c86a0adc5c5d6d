"""What there is in the cluster at its start, and what all parts of the double share."""

import time
import uuid
from datetime import UTC, datetime
from typing import Any

from tests.support.kubernetes.kinds import Kind, Kinds
from tests.support.kubernetes.store import Store

Document = dict[str, Any]
NODE = "node1"
VERSION = {
    "major": "1",
    "minor": "20",
    "gitVersion": "v1.20.2",
    "gitCommit": "unknown",
    "gitTreeState": "archive",
    "buildDate": "2021-01-13T13:20:00Z",
    "goVersion": "go1.15.5",
    "compiler": "gc",
    "platform": "linux/amd64",
}


def now() -> str:
    """The time as Kubernetes writes it, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def finely() -> str:
    """The time to the nanosecond, as in timestamps of logs."""
    nanoseconds = time.time_ns()
    return datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") + (
        f".{nanoseconds % 10**9:09}Z"
    )


class World:
    """Kinds and objects."""

    def __init__(self) -> None:
        self.kinds = Kinds()
        self.store = Store()
        self.pods = self.kind("", "v1", "pods")
        self.namespaces = self.kind("", "v1", "namespaces")
        self.definitions = self.kind("apiextensions.k8s.io", "v1", "customresourcedefinitions")
        for name in ("default", "kube-node-lease", "kube-public", "kube-system"):
            spec = {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
            self.add(self.namespaces, name, spec)
        self.add(self.kind("", "v1", "nodes"), NODE, _node())
        self.add(self.kind("", "v1", "services"), "kubernetes", _kubernetes(), "default")

    def kind(self, group: str, version: str, plural: str) -> Kind:
        """A kind that exists."""
        found = self.kinds.find(group, version, plural)
        assert found is not None, (group, version, plural)
        return found

    def add(self, kind: Kind, name: str, content: Document, namespace: str = "", **metadata: Any) -> Document:
        """Put an object in, past all rules: what the cluster's own parts do."""
        found = {"name": name, **({"namespace": namespace} if namespace else {}), **identity(), **metadata}
        return self.store.put(kind, {"kind": kind.name, "apiVersion": kind.api_version, "metadata": found, **content})


def identity() -> Document:
    """What the server gives each new object."""
    return {"uid": str(uuid.uuid4()), "creationTimestamp": now()}


def _node() -> Document:
    moment = now()
    conditions = [
        {
            "type": kind,
            "status": "True" if kind == "Ready" else "False",
            "lastHeartbeatTime": moment,
            "lastTransitionTime": moment,
            "reason": reason,
            "message": message,
        }
        for kind, reason, message in (
            ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ("Ready", "KubeletReady", "kubelet is posting ready status"),
        )
    ]
    amounts = {"cpu": "2", "memory": "8152072Ki", "pods": "110", "ephemeral-storage": "61255492Ki"}
    return {
        "spec": {},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": conditions,
            "addresses": [{"type": "InternalIP", "address": "192.0.2.2"}, {"type": "Hostname", "address": NODE}],
            "nodeInfo": {
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
                "kernelVersion": "6.1.0",
                "osImage": "Debian GNU/Linux 12 (bookworm)",
                "containerRuntimeVersion": "containerd://1.6.20",
                "kubeletVersion": "v1.20.2",
                "kubeProxyVersion": "v1.20.2",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        },
    }


def _kubernetes() -> Document:
    port = {"name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443}
    spec = {"ports": [port], "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "type": "ClusterIP"}
    return {"spec": {**spec, "sessionAffinity": "None"}, "status": {"loadBalancer": {}}}
