"""kubernetes/KIND/NAMESPACE/NAME: one object of a cluster, looked at and deleted.

What is in no namespace has `-` in its place; namespaces, nodes and CRDs also go without it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from appliance.host.kubernetes.kinds import DEFINITIONS, DEPLOYMENTS, NAMESPACES, NODES, PODS, SERVICES, Kind
from appliance.host.kubernetes.kubernetes import Kubernetes
from appliance.host.kubernetes.model import (
    KubernetesDeploymentDetail,
    KubernetesPodDetail,
    KubernetesResourceDetail,
    KubernetesServiceDetail,
)
from appliance.host.kubernetes.names import NO_NAMESPACE
from appliance.host.kubernetes.objects import Found
from appliance.host.kubernetes.views import View, common_view, view_of
from appliance.http.call import Call
from appliance.http.endpoints import Routes
from appliance.identity.caller import administrator, reader
from appliance.system.endpoints_containers import sees_secrets
from appliance.system.kubernetes_access import known_kind
from appliance.system.models_kubernetes import (
    DeleteQuery,
    KubernetesDeleted,
    KubernetesDeploymentReply,
    KubernetesPodReply,
    KubernetesResourceReply,
    KubernetesServiceReply,
)

_REFUSALS = (404, 422, 503)
_CHANGES = (404, 409, 422, 503)
_DELETION: Mapping[str, Any] = {
    "reply": KubernetesDeleted,
    "who": administrator,
    "query": DeleteQuery,
    "audit": "kubernetes.delete",
    "statuses": _CHANGES,
}


class KubernetesObjectEndpoints:
    """Single objects."""

    routes = Routes(prefix="/kubernetes", tag="Kubernetes")

    def __init__(self, kubernetes: Kubernetes) -> None:
        self._kinds = kubernetes.kinds
        self._objects = kubernetes.objects

    @routes.get("/pods/<namespace>/<name>", reply=KubernetesPodReply, who=reader, statuses=_REFUSALS)
    async def get_kubernetes_pod(self, call: Call, namespace: str, name: str) -> KubernetesPodReply:
        """A pod."""
        found = await self._get(call, PODS, view_of(PODS), namespace, name)
        return KubernetesPodReply(pod_detail(found))

    @routes.get("/deployments/<namespace>/<name>", reply=KubernetesDeploymentReply, who=reader, statuses=_REFUSALS)
    async def get_kubernetes_deployment(self, call: Call, namespace: str, name: str) -> KubernetesDeploymentReply:
        """A deployment."""
        found = await self._get(call, DEPLOYMENTS, view_of(DEPLOYMENTS), namespace, name)
        return KubernetesDeploymentReply(deployment_detail(found))

    @routes.get("/services/<namespace>/<name>", reply=KubernetesServiceReply, who=reader, statuses=_REFUSALS)
    async def get_kubernetes_service(self, call: Call, namespace: str, name: str) -> KubernetesServiceReply:
        """A service."""
        found = await self._get(call, SERVICES, view_of(SERVICES), namespace, name)
        return KubernetesServiceReply(service_detail(found))

    @routes.get("/namespaces/<name>", reply=KubernetesResourceReply, who=reader, statuses=_REFUSALS)
    async def get_kubernetes_namespace(self, call: Call, name: str) -> KubernetesResourceReply:
        """A namespace."""
        return await self._resource(call, NAMESPACES, "", name)

    @routes.get("/nodes/<name>", reply=KubernetesResourceReply, who=reader, statuses=_REFUSALS)
    async def get_kubernetes_node(self, call: Call, name: str) -> KubernetesResourceReply:
        """A node."""
        return await self._resource(call, NODES, "", name)

    @routes.get("/crds/<name>", reply=KubernetesResourceReply, who=reader, statuses=_REFUSALS)
    async def get_kubernetes_crd(self, call: Call, name: str) -> KubernetesResourceReply:
        """A custom resource definition."""
        return await self._resource(call, DEFINITIONS, "", name)

    @routes.get("/<kind>/<namespace>/<name>", reply=KubernetesResourceReply, who=reader, statuses=_REFUSALS)
    async def get_kubernetes_resource(
        self, call: Call, kind: str, namespace: str, name: str
    ) -> KubernetesResourceReply:
        """An object of any other kind; `-` stands for the namespace where the kind has none.

        Those who are no administrators see no secrets, and of other objects nothing that may hold one.
        """
        return await self._resource(call, await known_kind(self._kinds, call, kind), namespace, name)

    @routes.delete("/namespaces/<name>", **_DELETION)
    async def delete_kubernetes_namespace(self, call: Call, query: DeleteQuery, name: str) -> KubernetesDeleted:
        """Delete a namespace, with all that is in it."""
        return await self._delete(call, NAMESPACES, NO_NAMESPACE, name, query)

    @routes.delete("/nodes/<name>", **_DELETION)
    async def delete_kubernetes_node(self, call: Call, query: DeleteQuery, name: str) -> KubernetesDeleted:
        """Delete a node: the cluster forgets it until it comes back."""
        return await self._delete(call, NODES, NO_NAMESPACE, name, query)

    @routes.delete("/crds/<name>", **_DELETION)
    async def delete_kubernetes_crd(self, call: Call, query: DeleteQuery, name: str) -> KubernetesDeleted:
        """Delete a custom resource definition, with all objects of its kind."""
        return await self._delete(call, DEFINITIONS, NO_NAMESPACE, name, query)

    @routes.delete("/<kind>/<namespace>/<name>", **_DELETION)
    async def delete_kubernetes_resource(
        self, call: Call, query: DeleteQuery, kind: str, namespace: str, name: str
    ) -> KubernetesDeleted:
        """Delete an object of any kind; `-` stands for the namespace where the kind has none."""
        call.audit_object = f"{kind} {namespace}/{name}"
        return await self._delete(call, await self._kinds.named(kind), namespace, name, query)

    async def _get(self, call: Call, kind: Kind, view: View, namespace: str, name: str) -> Found:
        return await self._objects.get(kind, view, namespace, name, whole=sees_secrets(call))

    async def _resource(self, call: Call, kind: Kind, namespace: str, name: str) -> KubernetesResourceReply:
        view = common_view(kind, whole=sees_secrets(call))
        return KubernetesResourceReply(resource_detail(await self._get(call, kind, view, namespace, name)))

    async def _delete(self, call: Call, kind: Kind, namespace: str, name: str, query: DeleteQuery) -> KubernetesDeleted:
        call.audit_object = f"{kind.name} {namespace}/{name}"
        deletion = query.deletion
        call.audit_details = {
            "grace_period_seconds": deletion.grace,
            "propagation_policy": deletion.propagation,
            "dry_run": deletion.dry_run,
        }
        message = await self._objects.delete(kind, namespace, name, deletion)
        return KubernetesDeleted(kind.kind, namespace if kind.namespaced else "", name, message, True)


def pod_detail(found: Found) -> KubernetesPodDetail:
    """A pod's row and the whole of it."""
    return KubernetesPodDetail(**msgspec.structs.asdict(found.row), object=found.content)


def deployment_detail(found: Found) -> KubernetesDeploymentDetail:
    """The same of a deployment."""
    return KubernetesDeploymentDetail(**msgspec.structs.asdict(found.row), object=found.content)


def service_detail(found: Found) -> KubernetesServiceDetail:
    """The same of a service."""
    return KubernetesServiceDetail(**msgspec.structs.asdict(found.row), object=found.content)


def resource_detail(found: Found) -> KubernetesResourceDetail:
    """The same of any object."""
    return KubernetesResourceDetail(**msgspec.structs.asdict(found.row), object=found.content)
