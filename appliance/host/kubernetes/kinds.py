"""The kinds of objects: those built in by heart, all others by asking the cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from appliance.host.errors import Unknown
from appliance.host.kubernetes.client import ClusterClient
from appliance.host.kubernetes.names import is_group, is_plural
from appliance.host.kubernetes.wire import ApiGroup, ApiResource, ApiResources, Definition


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of objects, in one version of its API group (empty: the core's)."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    built_in: bool = True

    @property
    def api_version(self) -> str:
        """As in an object: `apps/v1`, `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """How its paths begin."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def name(self) -> str:
        """What it is called in paths of ours."""
        return self.plural if self.built_in or not self.group else f"{self.plural}.{self.group}"

    def is_of(self, api_version: str, kind: str) -> bool:
        """Whether an object that says this of itself is of this kind."""
        return (self.api_version, self.kind) == (api_version, kind)

    def collection(self, namespace: str = "") -> str:
        """The path of all of them, or of those in a namespace. The name must be checked."""
        return f"{self.root}/namespaces/{namespace}/{self.plural}" if namespace else f"{self.root}/{self.plural}"

    def path(self, namespace: str, name: str) -> str:
        """The path of one; both names must be checked."""
        return f"{self.collection(namespace)}/{name}"


PODS = Kind("", "v1", "pods", "Pod")
SERVICES = Kind("", "v1", "services", "Service")
NAMESPACES = Kind("", "v1", "namespaces", "Namespace", namespaced=False)
NODES = Kind("", "v1", "nodes", "Node", namespaced=False)
SECRETS = Kind("", "v1", "secrets", "Secret")
DEPLOYMENTS = Kind("apps", "v1", "deployments", "Deployment")
STATEFUL_SETS = Kind("apps", "v1", "statefulsets", "StatefulSet")
DAEMON_SETS = Kind("apps", "v1", "daemonsets", "DaemonSet")
REPLICA_SETS = Kind("apps", "v1", "replicasets", "ReplicaSet")
DEFINITIONS = Kind(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)

BUILT_IN: Sequence[Kind] = (
    PODS,
    SERVICES,
    NAMESPACES,
    NODES,
    SECRETS,
    DEPLOYMENTS,
    STATEFUL_SETS,
    DAEMON_SETS,
    REPLICA_SETS,
    DEFINITIONS,
    Kind("", "v1", "configmaps", "ConfigMap"),
    Kind("", "v1", "serviceaccounts", "ServiceAccount"),
    Kind("", "v1", "events", "Event"),
    Kind("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False),
    Kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim"),
    Kind("batch", "v1", "jobs", "Job"),
    Kind("networking.k8s.io", "v1", "ingresses", "Ingress"),
)
_BY_NAME = {kind.plural: kind for kind in BUILT_IN} | {"crds": DEFINITIONS}
_BY_OBJECT = {(kind.api_version, kind.kind): kind for kind in BUILT_IN}
_SINCE_1_21 = {"cronjobs": "batch"}
"""Kinds whose version depends on the cluster's: they are looked for as those are that are not built in."""


class Kinds:
    """Finds kinds. What the cluster is asked for is not kept: it may be another one, with others, in a moment."""

    def __init__(self, client: ClusterClient) -> None:
        self._client = client

    async def named(self, name: str) -> Kind:
        """The kind that a path of ours calls `name`: a plural, of what is not built in with its API group behind it,
        as `certificates.cert-manager.io`. Raises `Unknown`, and what the client raises.
        """
        known = _BY_NAME.get(name)
        if known is not None:
            return known
        plural, _, group = name.partition(".")
        group = _SINCE_1_21.get(name, group)
        if not is_plural(plural) or not is_group(group):
            raise Unknown(
                f"No kind is called {name[:100]!r} here; one that is not built in is called by its plural and its API"
                " group, as certificates.cert-manager.io"
            )
        for version in await self._versions(group):
            found = await self._resources(group, version)
            for each in found:
                if each.name == plural:
                    return _kind(group, version, each, built_in=name in _SINCE_1_21)
        raise Unknown(f"The cluster has no kind {name}")

    async def of_object(self, api_version: str, kind: str) -> Kind:
        """The kind of an object that says it is of this API version and kind, both in their proper form.

        Raises `Unknown`, and what the client raises.
        """
        known = _BY_OBJECT.get((api_version, kind))
        if known is not None:
            return known
        group, _, version = api_version.rpartition("/")
        for each in await self._resources(group, version):
            if each.kind == kind and is_plural(each.name):  # "/" stands in those of what belongs to a kind
                built_in = _SINCE_1_21.get(each.name) == group
                return _kind(group, version, each, built_in=built_in)
        raise Unknown(f"The cluster has no kind {kind} in {api_version}")

    async def _versions(self, group: str) -> list[str]:
        """The versions of a group, the preferred one first."""
        try:
            found = (await self._client.call("GET", f"/apis/{group}")).decode(ApiGroup)
        except Unknown:
            return []
        preferred = [found.preferred_version] if found.preferred_version is not None else []
        named = [each.version for each in [*preferred, *(found.versions or [])]]
        return [each for each in dict.fromkeys(named) if is_plural(each)]

    async def _resources(self, group: str, version: str) -> list[ApiResource]:
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            return (await self._client.call("GET", path)).decode(ApiResources).resources or []
        except Unknown:
            return []


def defined_by(content: Mapping[str, object]) -> list[Kind]:
    """The kinds that a CustomResourceDefinition defines; none where it is not in order."""
    try:
        spec = msgspec.convert(content, Definition).spec
    except msgspec.ValidationError:
        return []
    if spec is None or spec.names is None or not is_group(spec.group) or not is_plural(spec.names.plural):
        return []
    return [
        Kind(spec.group, each.name, spec.names.plural, spec.names.kind, spec.scope == "Namespaced", built_in=False)
        for each in spec.versions or []
        if is_plural(each.name)
    ]


def _kind(group: str, version: str, found: ApiResource, *, built_in: bool) -> Kind:
    return Kind(group, version, found.name, found.kind, found.namespaced, built_in)
