"""Namespaces, nodes and custom resource definitions as kubectl(1) shows them."""

from appliance.host.kubernetes.ages import age
from appliance.host.kubernetes.model import KubernetesDefinition, KubernetesNamespace, KubernetesNode
from appliance.host.kubernetes.wire import (
    Definition,
    DefinitionNames,
    DefinitionSpec,
    Namespace,
    Node,
    NodeInfo,
    NodeSpec,
    NodeStatus,
)

_ROLE, _OLD_ROLE = "node-role.kubernetes.io/", "kubernetes.io/role"


def shown_namespace(found: Namespace, now: float) -> KubernetesNamespace:
    """A line of `kubectl get namespaces`; `now` in seconds since 1970."""
    return KubernetesNamespace(
        name=found.metadata.name,
        status=found.status.phase if found.status is not None else "",
        age=age(found.metadata.creation_timestamp, now),
        created_at=found.metadata.creation_timestamp or "",
        labels=found.metadata.labels or {},
    )


def shown_node(found: Node, now: float) -> KubernetesNode:
    """A line of `kubectl get nodes -o wide`, and what there is to share out; `now` in seconds since 1970."""
    status = found.status or NodeStatus()
    info = status.node_info or NodeInfo()
    addresses = {each.type: each.address for each in reversed(status.addresses or [])}
    return KubernetesNode(
        name=found.metadata.name,
        status=_condition(found.spec or NodeSpec(), status),
        roles=_roles(found.metadata.labels or {}),
        age=age(found.metadata.creation_timestamp, now),
        created_at=found.metadata.creation_timestamp or "",
        version=info.kubelet_version,
        internal_ip=addresses.get("InternalIP", ""),
        external_ip=addresses.get("ExternalIP", ""),
        os_image=info.os_image,
        kernel_version=info.kernel_version,
        container_runtime=info.container_runtime_version,
        architecture=info.architecture,
        capacity=status.capacity or {},
        allocatable=status.allocatable or {},
        labels=found.metadata.labels or {},
    )


def shown_definition(found: Definition, now: float) -> KubernetesDefinition:
    """A custom resource definition; `now` in seconds since 1970."""
    spec = found.spec or DefinitionSpec()
    versions = spec.versions or []
    served = [each.name for each in versions if each.served]
    stored = [each.name for each in versions if each.storage]
    return KubernetesDefinition(
        name=found.metadata.name,
        group=spec.group,
        version=next(iter(stored or served), ""),
        versions=served,
        kind=(spec.names or DefinitionNames()).kind,
        scope=spec.scope,
        age=age(found.metadata.creation_timestamp, now),
        created_at=found.metadata.creation_timestamp or "",
        labels=found.metadata.labels or {},
    )


def _condition(spec: NodeSpec, status: NodeStatus) -> str:
    ready = [each.status == "True" for each in status.conditions or [] if each.type == "Ready"]
    words = [("Ready" if ready[0] else "NotReady") if ready else "Unknown"]
    if spec.unschedulable:
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(labels: dict[str, str]) -> list[str]:
    found = {name.removeprefix(_ROLE) for name in labels if name.startswith(_ROLE)}
    found.add(labels.get(_OLD_ROLE, ""))
    return sorted(found - {""})
