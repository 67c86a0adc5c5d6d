"""Rollouts of deployments, stateful sets and daemon sets: begun anew, and how they stand."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from appliance.host.errors import Conflict
from appliance.host.kubernetes.applying import FIELD_MANAGER
from appliance.host.kubernetes.client import ClusterClient
from appliance.host.kubernetes.kinds import DAEMON_SETS, DEPLOYMENTS, STATEFUL_SETS, Kind
from appliance.host.kubernetes.objects import path_of
from appliance.host.kubernetes.wire import Workload, WorkloadSpec, WorkloadStatus
from appliance.host.kubernetes.workloads import wanted

ROLLED_OUT = {kind.plural: kind for kind in (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS)}
"""The kinds that have rollouts, by what a path calls them."""

_ANNOTATION = "kubectl.kubernetes.io/restartedAt"
_STRATEGIC_MERGE = "application/strategic-merge-patch+json"
_OVERDUE = "ProgressDeadlineExceeded"


@dataclass(frozen=True, slots=True)
class Rollout:
    """Whether all pods are of the newest template and available, and how that stands, in words."""

    complete: bool
    message: str


class Rollouts:
    """The rollouts of objects of the kinds in `ROLLED_OUT`. All methods raise `Invalid`, and what the client raises."""

    def __init__(self, reactor: Any, client: ClusterClient) -> None:
        self._reactor = reactor
        self._client = client

    async def restart(self, kind: Kind, namespace: str, name: str) -> str:
        """Have all pods replaced, a few at a time; the moment it was asked for, in RFC 3339.

        Raises `Conflict` for a deployment that is paused: it would not begin.
        """
        path = path_of(kind, namespace, name)
        found = (await self._client.call("GET", path)).decode(Workload)
        if found.spec is not None and found.spec.paused:
            raise Conflict(f"{kind.kind} {namespace}/{name} is paused; its rollout must be resumed first")
        moment = datetime.fromtimestamp(self._reactor.seconds(), UTC).isoformat(timespec="milliseconds")
        patch = {"spec": {"template": {"metadata": {"annotations": {_ANNOTATION: moment}}}}}
        await self._client.call(
            "PATCH",
            path,
            {"fieldManager": FIELD_MANAGER},
            content=msgspec.json.encode(patch),
            content_type=_STRATEGIC_MERGE,
        )
        return moment

    async def status(self, kind: Kind, namespace: str, name: str) -> Rollout:
        """How the rollout stands."""
        return progress(kind, (await self._client.call("GET", path_of(kind, namespace, name))).decode(Workload))


def progress(kind: Kind, found: Workload) -> Rollout:
    """How a rollout stands, by the same signs as `kubectl rollout status` looks for."""
    spec, status = found.spec or WorkloadSpec(), found.status or WorkloadStatus()
    if status.observed_generation < found.metadata.generation:
        return Rollout(False, "The cluster has not looked at the newest template yet")
    if _manual(spec):
        return Rollout(False, "Pods are replaced only when somebody deletes them (OnDelete)")
    if any(each.type == "Progressing" and each.reason == _OVERDUE for each in status.conditions or []):
        return Rollout(False, "It has exceeded its progress deadline")
    if kind == DAEMON_SETS:
        pods, updated = status.desired_number_scheduled, status.updated_number_scheduled
        available, old = status.number_available, 0
    else:
        pods, updated = wanted(spec), status.updated_replicas
        available = status.ready_replicas if kind == STATEFUL_SETS else status.available_replicas
        old = max(status.replicas - updated, 0)
    if updated < pods:
        return Rollout(False, f"{updated} of {pods} new pods are there")
    if old:
        return Rollout(False, f"{old} old pods have not ended yet")
    if available < pods:
        return Rollout(False, f"{available} of {pods} new pods are available")
    return Rollout(True, "It is complete")


def _manual(spec: WorkloadSpec) -> bool:
    return spec.update_strategy is not None and spec.update_strategy.type == "OnDelete"
