"""Deployments and what else keeps pods running, as kubectl(1) shows them."""

from appliance.host.kubernetes.ages import age
from appliance.host.kubernetes.model import KubernetesDeployment
from appliance.host.kubernetes.wire import LabelSelector, Names, Strategy, Workload, WorkloadSpec, WorkloadStatus

_OPERATORS = {"In": "in", "NotIn": "notin"}


def shown_deployment(found: Workload, now: float) -> KubernetesDeployment:
    """A line of `kubectl get deployments -o wide`; `now` in seconds since 1970."""
    spec, status = found.spec or WorkloadSpec(), found.status or WorkloadStatus()
    replicas = wanted(spec)
    return KubernetesDeployment(
        name=found.metadata.name,
        namespace=found.metadata.namespace,
        ready=f"{status.ready_replicas}/{replicas}",
        replicas=replicas,
        ready_replicas=status.ready_replicas,
        updated_replicas=status.updated_replicas,
        available_replicas=status.available_replicas,
        strategy=(spec.strategy or Strategy()).type,
        paused=spec.paused,
        age=age(found.metadata.creation_timestamp, now),
        created_at=found.metadata.creation_timestamp or "",
        images=images(spec),
        selector=selector_text(spec.selector),
        labels=found.metadata.labels or {},
    )


def wanted(spec: WorkloadSpec) -> int:
    """How many pods there shall be: one where nothing is said."""
    return 1 if spec.replicas is None else spec.replicas


def images(spec: WorkloadSpec) -> list[str]:
    """The images of the containers, without those that only prepare something."""
    pod = spec.template.spec if spec.template is not None else None
    return [each.image for each in (pod.containers or [])] if pod is not None else []


def pairs_text(labels: Names | None) -> str:
    """Labels as a selector: `app=web,tier=front`."""
    return ",".join(f"{name}={value}" for name, value in sorted((labels or {}).items()))


def selector_text(selector: LabelSelector | None) -> str:
    """A selector as kubectl writes it: `app=web,tier in (a,b),!old`."""
    if selector is None:
        return ""
    parts = [pairs_text(selector.match_labels)] if selector.match_labels else []
    for each in selector.match_expressions or []:
        if each.operator in _OPERATORS:
            parts.append(f"{each.key} {_OPERATORS[each.operator]} ({','.join(sorted(each.values or []))})")
        else:
            parts.append(f"!{each.key}" if each.operator == "DoesNotExist" else each.key)
    return ",".join(parts)
