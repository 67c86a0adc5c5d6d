"""What a cluster's controllers do to namespaces and definitions."""

import asyncio
import copy
from typing import Any

from tests.support.kubernetes import applying, writing
from tests.support.kubernetes.kinds import Kind
from tests.support.kubernetes.store import Change
from tests.support.kubernetes.world import World, now

_MOMENT = 0.05  # seconds until a controller has seen a change


class Housekeeping:
    """Establishes new definitions; empties and removes what is being deleted."""

    def __init__(self, world: World) -> None:
        self._world = world
        world.store.hooks.append(self._seen)

    def _seen(self, change: Change) -> None:
        loop, world = asyncio.get_running_loop(), self._world
        if change.after is None:
            return
        metadata = change.after["metadata"]
        if change.key == world.namespaces.key and metadata.get("deletionTimestamp"):
            loop.call_later(_MOMENT, self._empty_namespace, metadata["name"])
        elif change.key == world.definitions.key:
            if metadata.get("deletionTimestamp"):
                loop.call_later(_MOMENT, self._drop_definition, metadata["name"])
            else:
                loop.call_later(_MOMENT, self._establish, metadata["name"])

    def _empty_namespace(self, name: str) -> None:
        world = self._world
        namespace = world.store.get(world.namespaces, "", name)
        if namespace is None:
            return
        left = 0
        for kind in world.kinds.all():
            if kind.namespaced:
                left += self._remove_all(kind, name)
        if left:
            asyncio.get_running_loop().call_later(_MOMENT, self._empty_namespace, name)
        else:
            world.store.remove(world.namespaces, namespace)

    def _remove_all(self, kind: Kind, namespace: str = "") -> int:
        """Delete what there is; how much is still there."""
        world = self._world
        for document in world.store.all(kind, namespace):
            if not document["metadata"].get("deletionTimestamp"):
                writing.remove(world, kind, document)
        return len(world.store.all(kind, namespace))

    def _establish(self, name: str) -> None:
        world = self._world
        live = world.store.get(world.definitions, "", name)
        if live is None or live["metadata"].get("deletionTimestamp"):
            return
        world.kinds.define(live)
        names = live["spec"]["names"]
        if live["status"]["acceptedNames"] == names and live["status"]["conditions"]:
            return
        definition = copy.deepcopy(live)
        definition["status"]["acceptedNames"] = copy.deepcopy(names)
        definition["status"]["conditions"] = [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            _condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ]
        shape = world.definitions.shape
        applying.updated(live, definition, shape, manager="kube-apiserver", now=now())
        world.store.put(world.definitions, definition)

    def _drop_definition(self, name: str) -> None:
        world = self._world
        definition = world.store.get(world.definitions, "", name)
        if definition is None:
            return
        group, plural = definition["spec"]["group"], definition["spec"]["names"]["plural"]
        left = [self._remove_all(kind) for kind in world.kinds.all() if (kind.group, kind.plural) == (group, plural)]
        if any(left):
            asyncio.get_running_loop().call_later(_MOMENT, self._drop_definition, name)
            return
        world.kinds.drop(name)
        world.store.remove(world.definitions, definition)


def _condition(kind: str, reason: str, message: str) -> dict[str, Any]:
    return {"type": kind, "status": "True", "lastTransitionTime": now(), "reason": reason, "message": message}
