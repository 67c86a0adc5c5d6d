"""kubernetes/…: lists of a cluster's objects."""

import msgspec

from appliance.host.kubernetes.kinds import DEFINITIONS, DEPLOYMENTS, NAMESPACES, NODES, PODS, SERVICES, Kind
from appliance.host.kubernetes.kubernetes import Kubernetes
from appliance.host.kubernetes.names import check_label
from appliance.host.kubernetes.objects import namespace_of
from appliance.host.kubernetes.views import View, common_view, view_of
from appliance.http.call import Call
from appliance.http.endpoints import Routes
from appliance.identity.caller import reader
from appliance.system.endpoints_containers import sees_secrets
from appliance.system.kubernetes_access import known_kind
from appliance.system.models_kubernetes import (
    KubernetesDefinitionList,
    KubernetesDeploymentList,
    KubernetesNamespaceList,
    KubernetesNodeList,
    KubernetesPodList,
    KubernetesResourceList,
    KubernetesServiceList,
    NamespaceQuery,
    SelectionQuery,
    list_reply,
)

_REFUSALS = (404, 422, 503)


class KubernetesListEndpoints:
    """Lists. Ages are in the style of kubectl."""

    routes = Routes(prefix="/kubernetes", tag="Kubernetes")

    def __init__(self, kubernetes: Kubernetes) -> None:
        self._listing = kubernetes.listing
        self._kinds = kubernetes.kinds

    @routes.get("/pods", reply=KubernetesPodList, who=reader, query=NamespaceQuery, statuses=_REFUSALS)
    async def list_kubernetes_pods(self, call: Call, query: NamespaceQuery) -> msgspec.Raw:
        """Pods, of all namespaces or one."""
        return await self._list("pods", PODS, view_of(PODS), query, query.namespace)

    @routes.get("/pods/<namespace>", reply=KubernetesPodList, who=reader, query=SelectionQuery, statuses=_REFUSALS)
    async def list_kubernetes_pods_of(self, call: Call, query: SelectionQuery, namespace: str) -> msgspec.Raw:
        """The pods of a namespace."""
        return await self._list("pods", PODS, view_of(PODS), query, check_label("namespace", namespace))

    @routes.get("/deployments", reply=KubernetesDeploymentList, who=reader, query=NamespaceQuery, statuses=_REFUSALS)
    async def list_kubernetes_deployments(self, call: Call, query: NamespaceQuery) -> msgspec.Raw:
        """Deployments, of all namespaces or one."""
        return await self._list("deployments", DEPLOYMENTS, view_of(DEPLOYMENTS), query, query.namespace)

    @routes.get(
        "/deployments/<namespace>",
        reply=KubernetesDeploymentList,
        who=reader,
        query=SelectionQuery,
        statuses=_REFUSALS,
    )
    async def list_kubernetes_deployments_of(self, call: Call, query: SelectionQuery, namespace: str) -> msgspec.Raw:
        """The deployments of a namespace."""
        checked = check_label("namespace", namespace)
        return await self._list("deployments", DEPLOYMENTS, view_of(DEPLOYMENTS), query, checked)

    @routes.get("/services", reply=KubernetesServiceList, who=reader, query=NamespaceQuery, statuses=_REFUSALS)
    async def list_kubernetes_services(self, call: Call, query: NamespaceQuery) -> msgspec.Raw:
        """Services, of all namespaces or one."""
        return await self._list("services", SERVICES, view_of(SERVICES), query, query.namespace)

    @routes.get(
        "/services/<namespace>", reply=KubernetesServiceList, who=reader, query=SelectionQuery, statuses=_REFUSALS
    )
    async def list_kubernetes_services_of(self, call: Call, query: SelectionQuery, namespace: str) -> msgspec.Raw:
        """The services of a namespace."""
        return await self._list("services", SERVICES, view_of(SERVICES), query, check_label("namespace", namespace))

    @routes.get("/namespaces", reply=KubernetesNamespaceList, who=reader, query=SelectionQuery, statuses=_REFUSALS)
    async def list_kubernetes_namespaces(self, call: Call, query: SelectionQuery) -> msgspec.Raw:
        """Namespaces."""
        return await self._list("namespaces", NAMESPACES, view_of(NAMESPACES), query)

    @routes.get("/nodes", reply=KubernetesNodeList, who=reader, query=SelectionQuery, statuses=_REFUSALS)
    async def list_kubernetes_nodes(self, call: Call, query: SelectionQuery) -> msgspec.Raw:
        """Nodes."""
        return await self._list("nodes", NODES, view_of(NODES), query)

    @routes.get("/crds", reply=KubernetesDefinitionList, who=reader, query=SelectionQuery, statuses=_REFUSALS)
    async def list_kubernetes_crds(self, call: Call, query: SelectionQuery) -> msgspec.Raw:
        """Custom resource definitions."""
        return await self._list("crds", DEFINITIONS, view_of(DEFINITIONS), query)

    @routes.get(
        "/customresourcedefinitions",
        reply=KubernetesDefinitionList,
        who=reader,
        query=SelectionQuery,
        statuses=_REFUSALS,
    )
    async def list_kubernetes_custom_resource_definitions(self, call: Call, query: SelectionQuery) -> msgspec.Raw:
        """Custom resource definitions, by their whole name."""
        return await self._list("crds", DEFINITIONS, view_of(DEFINITIONS), query)

    @routes.get("/<kind>", reply=KubernetesResourceList, who=reader, query=NamespaceQuery, statuses=_REFUSALS)
    async def list_kubernetes_resources(self, call: Call, query: NamespaceQuery, kind: str) -> msgspec.Raw:
        """Objects of any other kind, by its plural: `configmaps`, `jobs`, `ingresses`, `certificates.cert-manager.io`.

        What is not built in is called by its plural and its API group. Secrets are for administrators.
        """
        found = await known_kind(self._kinds, call, kind)
        return await self._list(
            "resources", found, common_view(found, whole=sees_secrets(call)), query, query.namespace
        )

    @routes.get(
        "/<kind>/<namespace>", reply=KubernetesResourceList, who=reader, query=SelectionQuery, statuses=_REFUSALS
    )
    async def list_kubernetes_resources_of(
        self, call: Call, query: SelectionQuery, kind: str, namespace: str
    ) -> msgspec.Raw:
        """The objects of any other kind in a namespace; `-` stands for it where the kind has none."""
        found = await known_kind(self._kinds, call, kind)
        return await self._list(
            "resources", found, common_view(found, whole=sees_secrets(call)), query, namespace_of(found, namespace)
        )

    async def _list(self, name: str, kind: Kind, view: View, query: SelectionQuery, namespace: str = "") -> msgspec.Raw:
        selection = query.selection(namespace_of(kind, namespace) if namespace else "")
        if query.page:
            listed = await self._listing.page(kind, view, selection, query.page, query.continue_)
        else:
            listed = await self._listing.all(kind, view, selection)
        return list_reply(name, listed)
