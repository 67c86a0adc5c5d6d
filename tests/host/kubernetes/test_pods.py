"""Pods as `kubectl get pods` shows them."""

from typing import Any

import msgspec
import pytest

from appliance.host.kubernetes.pods import shown_pod
from appliance.host.kubernetes.wire import Pod

READY = {"type": "Ready", "status": "True"}
RUNS = {"running": {"startedAt": "1970-01-01T00:00:00Z"}}
INITIALIZED = {"type": "Initialized", "status": "True"}


def container(state: dict[str, Any], *, name: str = "c", ready: bool = False, restarts: int = 0) -> dict[str, Any]:
    return {"name": name, "ready": ready, "restartCount": restarts, "state": state, "started": ready}


def waits(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason}}


def ended(code: int, reason: str = "", signal: int = 0) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "signal": signal}}


def shown(
    status: dict[str, Any], *, names: str = "c", init: str = "", sidecars: str = "", deleted: bool = False
) -> tuple[str, str, int]:
    """Status, ready and restarts of a pod with these containers."""
    first = [{"name": name} for name in init.split()]
    first += [{"name": name, "restartPolicy": "Always"} for name in sidecars.split()]
    metadata = {"name": "p", "namespace": "n", "creationTimestamp": "1970-01-01T00:00:00Z"}
    if deleted:
        metadata["deletionTimestamp"] = "1970-01-01T00:00:00Z"
    spec = {"containers": [{"name": name, "image": f"{name}:1"} for name in names.split()], "initContainers": first}
    pod = msgspec.convert({"metadata": metadata, "spec": spec, "status": status}, Pod)
    found = shown_pod(pod, 172_800.0)
    assert (found.name, found.namespace, found.age) == ("p", "n", "2d")
    return found.status, found.ready, found.restarts


RUNNING = {"phase": "Running", "conditions": [READY], "containerStatuses": [container(RUNS, ready=True, restarts=3)]}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, ("", "0/1", 0)),
        ({"phase": "Pending"}, ("Pending", "0/1", 0)),
        (RUNNING, ("Running", "1/1", 3)),
        ({"phase": "Failed", "reason": "Evicted"}, ("Evicted", "0/1", 0)),
        (
            {"phase": "Running", "containerStatuses": [container(waits("CrashLoopBackOff"), restarts=7)]},
            ("CrashLoopBackOff", "0/1", 7),
        ),
        (
            {"phase": "Pending", "containerStatuses": [container(waits("ContainerCreating"))]},
            ("ContainerCreating", "0/1", 0),
        ),
        (
            {"phase": "Succeeded", "containerStatuses": [container(ended(0, "Completed"))]},
            ("Completed", "0/1", 0),
        ),
        ({"phase": "Failed", "containerStatuses": [container(ended(1, "Error"))]}, ("Error", "0/1", 0)),
        ({"phase": "Failed", "containerStatuses": [container(ended(3))]}, ("ExitCode:3", "0/1", 0)),
        ({"phase": "Failed", "containerStatuses": [container(ended(0, "", 9))]}, ("Signal:9", "0/1", 0)),
        (
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]},
            ("SchedulingGated", "0/1", 0),
        ),
    ],
)
def test_one_container(status: dict[str, Any], expected: tuple[str, str, int]) -> None:
    assert shown(status) == expected


def test_several_containers() -> None:
    both = [container(RUNS, name="a", ready=True), container(ended(0, "Completed"), name="b", restarts=2)]
    status = {"phase": "Running", "conditions": [READY], "containerStatuses": both}
    assert shown(status, names="a b") == ("Running", "1/2", 2)
    assert shown({**status, "conditions": []}, names="a b") == ("NotReady", "1/2", 2)
    first_wins = [container(waits("ErrImagePull"), name="a"), container(waits("CrashLoopBackOff"), name="b")]
    assert shown({"phase": "Pending", "containerStatuses": first_wins}, names="a b")[0] == "ErrImagePull"


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([container(RUNS)], ("Init:0/2", "0/1", 0)),
        ([container(ended(0)), container(waits("PodInitializing"))], ("Init:1/2", "0/1", 0)),
        ([container(waits("ImagePullBackOff"))], ("Init:ImagePullBackOff", "0/1", 0)),
        ([container(ended(1, "Error"), restarts=2)], ("Init:Error", "0/1", 2)),
        ([container(ended(4))], ("Init:ExitCode:4", "0/1", 0)),
        ([container(ended(4, "", 15))], ("Init:Signal:15", "0/1", 0)),
    ],
)
def test_what_comes_first(statuses: list[dict[str, Any]], expected: tuple[str, str, int]) -> None:
    assert shown({"phase": "Pending", "initContainerStatuses": statuses}, init="a b") == expected


def test_what_has_come_first() -> None:
    status = {**RUNNING, "initContainerStatuses": [container(ended(0), restarts=5)]}
    assert shown(status, init="a") == ("Running", "1/1", 3)


def test_sidecars_count() -> None:
    side = container(RUNS, name="side", ready=True, restarts=1)
    status = {**RUNNING, "conditions": [READY, INITIALIZED], "initContainerStatuses": [side]}
    assert shown(status, sidecars="side") == ("Running", "2/2", 4)


def test_an_end() -> None:
    assert shown(RUNNING, deleted=True)[0] == "Terminating"
    assert shown({"phase": "Running", "reason": "NodeLost"}, deleted=True)[0] == "Unknown"
    done = {"phase": "Succeeded", "containerStatuses": [container(ended(0, "Completed"))]}
    assert shown(done, deleted=True)[0] == "Completed"
