"""Single objects: looked at, and deleted."""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from appliance.host.errors import Invalid
from appliance.host.kubernetes.client import ClusterClient
from appliance.host.kubernetes.depth import is_deeper
from appliance.host.kubernetes.errors import ClusterError
from appliance.host.kubernetes.kinds import SECRETS, Kind
from appliance.host.kubernetes.masking import masked
from appliance.host.kubernetes.names import NO_NAMESPACE, check_label, check_name
from appliance.host.kubernetes.views import View
from appliance.host.kubernetes.wire import Anything, Metadata
from appliance.threads import Threads

Propagation = Literal["", "Foreground", "Background", "Orphan"]

_DELETE_SECONDS = 60.0
_DEPTH_LIMIT = 200
"""How deep an object may be nested: more than any schema asks for, and less than what masking or encoding it bears."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object: the view of it, and all that it holds."""

    row: Any
    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Deletion:
    """How to delete: the seconds that it gets to end by itself (None: as is usual for it), what becomes of what
    depends on it (empty: the same), and whether only to try."""

    grace: int | None = None
    propagation: Propagation = ""
    dry_run: bool = False


class Objects:
    """The cluster's objects. All methods raise `Invalid` for what cannot be a name, and what the client raises."""

    def __init__(self, reactor: Any, threads: Threads, client: ClusterClient) -> None:
        self._reactor = reactor
        self._threads = threads
        self._client = client

    async def get(self, kind: Kind, view: View, namespace: str, name: str, *, whole: bool) -> Found:
        """An object; not `whole`, without what may hold secrets."""
        answer = await self._client.call("GET", path_of(kind, namespace, name))
        return await self._threads.run(found_in, answer.body, kind, view, self._reactor.seconds(), whole=whole)

    async def delete(self, kind: Kind, namespace: str, name: str, deletion: Deletion) -> str:
        """Delete an object and return what was done, in words: what has to come to an end first is not gone yet."""
        path = path_of(kind, namespace, name)
        options: dict[str, object] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if deletion.grace is not None:
            options["gracePeriodSeconds"] = deletion.grace
        if deletion.propagation:
            options["propagationPolicy"] = deletion.propagation
        if deletion.dry_run:
            options["dryRun"] = ["All"]
        answer = await self._client.call("DELETE", path, content=msgspec.json.encode(options), seconds=_DELETE_SECONDS)
        title = f"{kind.kind} {name}" if not kind.namespaced else f"{kind.kind} {namespace}/{name}"
        if deletion.dry_run:
            return f"{title} would be deleted"
        return f"{title} is being deleted" if _stays(answer.decode(Anything).metadata) else f"{title} deleted"


def path_of(kind: Kind, namespace: str, name: str) -> str:
    """The path of an object, by names that come from outside; `-` is the namespace of what has none.

    Raises `Invalid`.
    """
    check_name("name", name)
    return kind.path(namespace_of(kind, namespace), name)


def namespace_of(kind: Kind, namespace: str) -> str:
    """A namespace that a path of ours names, empty for kinds without. Raises `Invalid`."""
    if not kind.namespaced:
        if namespace not in ("", NO_NAMESPACE):
            raise Invalid("namespace", f"{kind.plural} are in none; `{NO_NAMESPACE}` stands for that")
        return ""
    return check_label("namespace", namespace)


def _stays(metadata: Metadata | None) -> bool:
    """Whether what was answered to a deletion is an object that is still there, and not only told of."""
    if metadata is None or metadata.deletion_timestamp is None:
        return False
    return metadata.deletion_grace_period_seconds != 0 or bool(metadata.finalizers)


def found_in(body: bytes, kind: Kind, view: View, now: float, *, whole: bool) -> Found:
    """The object in an answer's body. Raises `ClusterError` for what is none, or nested too deep."""
    row = view.of(body, now)
    content: dict[str, Any] = msgspec.json.decode(body)
    if is_deeper(content, _DEPTH_LIMIT):
        raise ClusterError(f"The cluster's object is nested deeper than {_DEPTH_LIMIT} times")
    return Found(row, content if whole else masked(kind, content))


def is_secret(kind: Kind) -> bool:
    """Whether objects of this kind are nothing but secrets."""
    return (kind.group, kind.plural) == (SECRETS.group, SECRETS.plural)
