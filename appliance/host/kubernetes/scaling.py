"""How many pods a deployment, stateful set or replica set shall have."""

import msgspec

from appliance.host.kubernetes.applying import FIELD_MANAGER
from appliance.host.kubernetes.client import ClusterClient
from appliance.host.kubernetes.kinds import DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, Kind
from appliance.host.kubernetes.objects import path_of
from appliance.host.kubernetes.wire import Workload, WorkloadSpec
from appliance.host.kubernetes.workloads import wanted

SCALED = {kind.plural: kind for kind in (DEPLOYMENTS, STATEFUL_SETS, REPLICA_SETS)}
"""The kinds that have a number of pods, by what a path calls them."""

_MERGE = "application/merge-patch+json"


async def scale(client: ClusterClient, kind: Kind, namespace: str, name: str, replicas: int) -> int:
    """Set the number of pods of an object of a kind in `SCALED`; the number as it is now.

    Raises `Invalid`, and what the client raises.
    """
    answer = await client.call(
        "PATCH",
        path_of(kind, namespace, name),
        {"fieldManager": FIELD_MANAGER},
        content=msgspec.json.encode({"spec": {"replicas": replicas}}),
        content_type=_MERGE,
    )
    return wanted(answer.decode(Workload).spec or WorkloadSpec())
