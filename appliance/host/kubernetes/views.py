"""Which view is made of which kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.host.kubernetes.ages import age
from appliance.host.kubernetes.cluster_objects import shown_definition, shown_namespace, shown_node
from appliance.host.kubernetes.columns import COLUMNS, FOR_READERS, Columns
from appliance.host.kubernetes.errors import ClusterError
from appliance.host.kubernetes.kinds import DEFINITIONS, DEPLOYMENTS, NAMESPACES, NODES, PODS, SERVICES, Kind
from appliance.host.kubernetes.model import KubernetesResource
from appliance.host.kubernetes.pods import shown_pod
from appliance.host.kubernetes.services import shown_service
from appliance.host.kubernetes.wire import Definition, Namespace, Node, Object, Pod, Service, Workload
from appliance.host.kubernetes.workloads import shown_deployment
from appliance.host.outgoing.peer import UNREADABLE


@dataclass(frozen=True, slots=True)
class View:
    """What is read of an object of a kind, and what is shown of that: a struct of `model`.

    `whole` is false where something may be left out, for those who are no administrators.
    """

    type: Any
    show: Callable[[Any, float], Any]
    whole: bool = True

    def of(self, raw: bytes | msgspec.Raw, now: float) -> Any:
        """The view of an object's JSON; `now` in seconds since 1970. Raises `ClusterError` for what is none."""
        try:
            return self.show(msgspec.json.decode(raw, type=self.type), now)
        except UNREADABLE as error:
            raise ClusterError(f"The cluster answered what cannot be understood: {error}") from error


_OWN: Mapping[Kind, View] = {
    PODS: View(Pod, shown_pod),
    DEPLOYMENTS: View(Workload, shown_deployment),
    SERVICES: View(Service, shown_service),
    NAMESPACES: View(Namespace, shown_namespace),
    NODES: View(Node, shown_node),
    DEFINITIONS: View(Definition, shown_definition),
}


def view_of(kind: Kind) -> View:
    """The view of a kind that has one of its own, the common one of any other."""
    return _OWN.get(kind) or common_view(kind)


def common_view(kind: Kind, *, whole: bool = True) -> View:
    """The view that there is of any kind: a `KubernetesResource`; `whole` for administrators only."""
    key = kind.group, kind.plural
    type, columns = COLUMNS.get(key, (Object, _no_columns))
    if not whole:
        columns = FOR_READERS.get(key, columns)

    def show(found: Any, now: float) -> KubernetesResource:
        metadata = found.metadata
        return KubernetesResource(
            api_version=kind.api_version,
            kind=kind.kind,
            name=metadata.name,
            namespace=metadata.namespace,
            age=age(metadata.creation_timestamp, now),
            created_at=metadata.creation_timestamp or "",
            labels=metadata.labels or {},
            columns=columns(found, now),
        )

    return View(type, show, whole)


def _no_columns(found: Object, now: float) -> Columns:
    return {}
