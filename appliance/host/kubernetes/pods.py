"""Pods as kubectl(1) shows them.

The words of the column STATUS are worked out as in printPod of pkg/printers/internalversion/printers.go.
"""

from collections.abc import Iterable, Sequence

from appliance.host.kubernetes.ages import age
from appliance.host.kubernetes.model import KubernetesPod
from appliance.host.kubernetes.wire import (
    Condition,
    Container,
    ContainerState,
    ContainerStatus,
    Pod,
    PodSpec,
    PodStatus,
    Terminated,
)

_ENDED = ("Succeeded", "Failed")
_NO_STATE = ContainerState()


def shown_pod(pod: Pod, now: float) -> KubernetesPod:
    """A line of `kubectl get pods -o wide`; `now` in seconds since 1970."""
    spec, status = pod.spec or PodSpec(), pod.status or PodStatus()
    sidecars = _sidecars(spec)
    word, restarts, ready = _summary(spec, status, sidecars)
    if pod.metadata.deletion_timestamp is not None:
        if status.reason == "NodeLost":
            word = "Unknown"
        elif status.phase not in _ENDED:
            word = "Terminating"
    containers = spec.containers or []
    return KubernetesPod(
        name=pod.metadata.name,
        namespace=pod.metadata.namespace,
        status=word,
        ready=f"{ready}/{len(containers) + len(sidecars)}",
        restarts=restarts,
        age=age(pod.metadata.creation_timestamp, now),
        created_at=pod.metadata.creation_timestamp or "",
        ip=status.pod_ip,
        node=spec.node_name,
        containers=[each.name for each in containers],
        images=[each.image for each in containers],
        labels=pod.metadata.labels or {},
    )


def _sidecars(spec: PodSpec) -> frozenset[str]:
    """The init containers that go on running beside the others."""
    return frozenset(each.name for each in spec.init_containers or () if each.restart_policy == "Always")


def _summary(spec: PodSpec, status: PodStatus, sidecars: frozenset[str]) -> tuple[str, int, int]:
    """The status in a word, how often containers were started again, and how many of them are ready."""
    beginning = status.init_container_statuses or ()
    init_word, ready = _initialising(spec.init_containers or (), beginning, sidecars)
    if init_word and not _is_true(status.conditions, "Initialized"):
        return init_word, sum(each.restart_count for each in beginning), ready
    word = init_word or _phase(status)
    restarts = sum(each.restart_count for each in beginning if each.name in sidecars)
    running = False
    for each in reversed(status.container_statuses or ()):
        restarts += each.restart_count
        state = each.state or _NO_STATE
        if state.waiting is not None and state.waiting.reason:
            word = state.waiting.reason
        elif state.terminated is not None:
            word = _end(state.terminated)
        elif each.ready and state.running is not None:
            running = True
            ready += 1
    if word == "Completed" and running:
        word = "Running" if _is_true(status.conditions, "Ready") else "NotReady"
    return word, restarts, ready


def _phase(status: PodStatus) -> str:
    gated = any(each.type == "PodScheduled" and each.reason == "SchedulingGated" for each in status.conditions or ())
    return "SchedulingGated" if gated else status.reason or status.phase


def _initialising(
    specified: Sequence[Container], statuses: Iterable[ContainerStatus], sidecars: frozenset[str]
) -> tuple[str, int]:
    """What the first init container that has not done its part is at, empty where all have; and the sidecars that are
    ready."""
    ready = 0
    for number, each in enumerate(statuses):
        state = each.state or _NO_STATE
        if state.terminated is not None and state.terminated.exit_code == 0:
            continue
        if each.name in sidecars and each.started:
            ready += each.ready
            continue
        if state.terminated is not None:
            return f"Init:{_end(state.terminated)}", ready
        if state.waiting is not None and state.waiting.reason not in ("", "PodInitializing"):
            return f"Init:{state.waiting.reason}", ready
        return f"Init:{number}/{len(specified)}", ready
    return "", ready


def _end(ended: Terminated) -> str:
    if ended.reason:
        return ended.reason
    return f"Signal:{ended.signal}" if ended.signal else f"ExitCode:{ended.exit_code}"


def _is_true(conditions: Iterable[Condition] | None, type: str) -> bool:
    return any(each.type == type and each.status == "True" for each in conditions or ())
