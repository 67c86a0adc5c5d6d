"""The kinds of objects: the built-in ones that the product uses, and those that definitions add."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.kubernetes import shapes
from tests.support.kubernetes.answers import qualified
from tests.support.kubernetes.shapes import Shape

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
DEFINITIONS = "customresourcedefinitions"


@dataclass(frozen=True)
class Kind:
    """One resource of one version. `schema` is a custom resource's, as OpenAPI."""

    group: str
    version: str
    plural: str
    name: str
    namespaced: bool = True
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS
    subresources: tuple[str, ...] = ()
    counts_generations: bool = False
    schema: Mapping[str, Any] | None = field(default=None, compare=False)
    shape: Shape = field(default=shapes.ANY, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """What its objects are stored by: all versions are of one store."""
        return (self.group, self.plural)

    @property
    def api_version(self) -> str:
        """`v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """`deployments.apps`."""
        return qualified(self.plural, self.group)


def _core(plural: str, name: str, *short_names: str, **more: Any) -> Kind:
    return Kind("", "v1", plural, name, short_names=short_names, shape=shapes.parse(name), **more)


BUILT_IN = [
    _core("configmaps", "ConfigMap", "cm"),
    _core("events", "Event", "ev"),
    _core("namespaces", "Namespace", "ns", namespaced=False, verbs=tuple(v for v in VERBS if v != "deletecollection")),
    _core("nodes", "Node", "no", namespaced=False, subresources=("status",)),
    _core("pods", "Pod", "po", categories=("all",), subresources=("log", "exec", "status")),
    _core("secrets", "Secret"),
    _core("services", "Service", "svc", categories=("all",), verbs=tuple(v for v in VERBS if v != "deletecollection")),
    Kind(
        "apps", "v1", "deployments", "Deployment", short_names=("deploy",), categories=("all",),
        counts_generations=True, subresources=("status",), shape=shapes.parse("Deployment"),
    ),
    Kind(
        "apps", "v1", "replicasets", "ReplicaSet", short_names=("rs",), categories=("all",), counts_generations=True,
        subresources=("status",), shape=shapes.parse("ReplicaSet"),
    ),
    Kind(
        "apiextensions.k8s.io", "v1", DEFINITIONS, "CustomResourceDefinition", namespaced=False,
        short_names=("crd", "crds"), categories=("api-extensions",), counts_generations=True, subresources=("status",),
        shape=shapes.parse("CustomResourceDefinition"),
    ),
]  # fmt: skip


def of_definition(definition: Mapping[str, Any]) -> list[Kind]:
    """The kinds that a definition brings, one for each version that is served."""
    spec, names = definition["spec"], definition["spec"]["names"]
    found = []
    for version in spec["versions"]:
        if version["served"]:
            schema = version["schema"]["openAPIV3Schema"]
            subresources = ("status",) if "status" in version.get("subresources", {}) else ()
            found.append(
                Kind(
                    spec["group"], version["name"], names["plural"], names["kind"],
                    namespaced=spec["scope"] == "Namespaced", singular=names["singular"],
                    short_names=tuple(names.get("shortNames", ())), categories=tuple(names.get("categories", ())),
                    verbs=CUSTOM_VERBS, subresources=subresources, counts_generations=True, schema=schema,
                    shape=shapes.of_custom_kind(schema),
                )
            )  # fmt: skip
    return found


class Kinds:
    """All kinds that there are now."""

    def __init__(self) -> None:
        self._custom: dict[str, list[Kind]] = {}

    def define(self, definition: Mapping[str, Any]) -> None:
        """Serve what a definition brings."""
        self._custom[definition["metadata"]["name"]] = of_definition(definition)

    def drop(self, name: str) -> None:
        """Serve no more what a definition has brought."""
        self._custom.pop(name, None)

    def all(self) -> list[Kind]:
        """Every kind."""
        return [*BUILT_IN, *(kind for kinds in self._custom.values() for kind in kinds)]

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind of a path."""
        for kind in self.all():
            if (kind.group, kind.version, kind.plural) == (group, version, plural):
                return kind
        return None

    def has_version(self, group: str, version: str) -> bool:
        """Whether there is anything in a version."""
        return any((kind.group, kind.version) == (group, version) for kind in self.all())

    def versions(self, group: str) -> list[str]:
        """The versions of a group, in the order of their kinds."""
        return list(dict.fromkeys(kind.version for kind in self.all() if kind.group == group))

    def groups(self) -> list[str]:
        """The groups apart from the core's."""
        return list(dict.fromkeys(kind.group for kind in self.all() if kind.group))


def _resource(kind: Kind) -> list[dict[str, Any]]:
    one: dict[str, Any] = {"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced}
    one |= {"kind": kind.name, "verbs": list(kind.verbs)}
    if kind.short_names:
        one["shortNames"] = list(kind.short_names)
    if kind.categories:
        one["categories"] = list(kind.categories)
    verbs = {"log": ["get"], "exec": ["create", "get"], "status": ["get", "patch", "update"]}
    names = {"exec": "PodExecOptions"}
    below = [
        {
            "name": f"{kind.plural}/{each}",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": names.get(each, kind.name),
            "verbs": verbs[each],
        }
        for each in sorted(kind.subresources)
    ]
    return [one, *below]


def resource_list(kinds: Kinds, group: str, version: str) -> dict[str, Any]:
    """APIResourceList of a version."""
    of_version = [kind for kind in kinds.all() if (kind.group, kind.version) == (group, version)]
    found = {"kind": "APIResourceList", "groupVersion": f"{group}/{version}" if group else version}
    if group:
        found["apiVersion"] = "v1"
    return {**found, "resources": [each for kind in of_version for each in _resource(kind)]}


def group_document(kinds: Kinds, group: str) -> dict[str, Any]:
    """APIGroup, without its own kind and apiVersion."""
    versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in kinds.versions(group)]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}
