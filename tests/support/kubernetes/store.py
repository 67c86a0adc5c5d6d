"""The objects, their versions, and what has happened to them."""

import asyncio
import base64
import copy
import itertools
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.kubernetes.answers import bad_request, expired, outdated
from tests.support.kubernetes.kinds import Kind

Document = dict[str, Any]
Name = tuple[str, str]  # namespace, name
_HISTORY = 10_000
_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


@dataclass(frozen=True)
class Change:
    """What has happened to an object: `before` or `after` is None where it did not exist."""

    version: int
    key: tuple[str, str]
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    last: Mapping[str, Any] | None = None  # a deleted object as it is told, with the deletion's version


class Store:
    """All objects. What is handed out must not be changed; what is put in is not kept by the caller."""

    def __init__(self) -> None:
        self.version = 200
        self.oldest = 200  # changes up to this one are forgotten
        self._objects: dict[tuple[str, str], dict[Name, Document]] = {}
        self._history: deque[Change] = deque()
        self._listeners: set[asyncio.Event] = set()
        self._snapshots: dict[str, list[Document]] = {}
        self._tokens = itertools.count(1)
        self.hooks: list[Callable[[Change], None]] = []

    def get(self, kind: Kind, namespace: str, name: str) -> Document | None:
        """One object."""
        return self._objects.get(kind.key, {}).get((namespace, name))

    def all(self, kind: Kind, namespace: str = "") -> list[Document]:
        """The objects of a kind, in one namespace or in all, in order of their names."""
        found = self._objects.get(kind.key, {})
        return [found[each] for each in sorted(found) if not namespace or each[0] == namespace]

    def put(self, kind: Kind, document: Document) -> Document:
        """Store an object as a new version of itself. Returns it as stored."""
        metadata = document["metadata"]
        name = (metadata.get("namespace", ""), metadata["name"])
        self.version += 1
        metadata["resourceVersion"] = str(self.version)
        before = self._objects.setdefault(kind.key, {}).get(name)
        self._objects[kind.key][name] = document
        self._tell(Change(self.version, kind.key, before, document))
        return document

    def remove(self, kind: Kind, document: Mapping[str, Any]) -> Document:
        """Take an object out. Returns it as it was last."""
        metadata = document["metadata"]
        before = self._objects[kind.key].pop((metadata.get("namespace", ""), metadata["name"]))
        self.version += 1
        last = copy.deepcopy(before)
        last["metadata"]["resourceVersion"] = str(self.version)
        self._tell(Change(self.version, kind.key, before, None, last))
        return last

    def check_version(self, kind: Kind, live: Mapping[str, Any], wanted: str | None) -> None:
        """Refuse a change that was made on another version."""
        if wanted and wanted != live["metadata"]["resourceVersion"]:
            raise outdated(kind.plural, kind.group, live["metadata"]["name"])

    def _tell(self, change: Change) -> None:
        self._history.append(change)
        while len(self._history) > _HISTORY:
            self.oldest = self._history.popleft().version
        for listener in self._listeners:
            listener.set()
        for hook in self.hooks:
            hook(change)

    def since(self, version: int) -> list[Change] | None:
        """The changes after a version; None where some are forgotten."""
        if version < self.oldest:
            return None
        return [change for change in self._history if change.version > version]

    def listen(self) -> asyncio.Event:
        """An event that is set at each change, until `forget`."""
        listener = asyncio.Event()
        self._listeners.add(listener)
        return listener

    def forget(self, listener: asyncio.Event) -> None:
        """Tell it no more."""
        self._listeners.discard(listener)

    def compact(self) -> None:
        """Forget what has been, as etcd does every few minutes: old versions and continue tokens are of no use."""
        self._history.clear()
        self._snapshots.clear()
        self.oldest = self.version + 1
        self.version += 1

    def page(self, documents: list[Document], limit: int) -> tuple[list[Document], Document]:
        """The first page of a list, and the list's metadata."""
        return self._page(documents, limit, str(self.version))

    def _page(self, documents: list[Document], limit: int, version: str) -> tuple[list[Document], Document]:
        metadata: Document = {"resourceVersion": version}
        if limit and len(documents) > limit:
            last = documents[limit - 1]["metadata"]
            start = f"{last.get('namespace', '')}/{last['name']}\0"
            token = {"v": "meta.k8s.io/v1", "rv": int(version), "start": start, "of": next(self._tokens)}
            text = base64.urlsafe_b64encode(json.dumps(token).encode()).decode().rstrip("=")
            self._snapshots[text] = documents[limit:]
            metadata |= {"continue": text, "remainingItemCount": len(documents) - limit}
        return documents[:limit] if limit else documents, metadata

    def next_page(self, token: str, limit: int, rest: list[Document]) -> tuple[list[Document], Document]:
        """A further page. `rest` is the list as it is now, for a token to begin anew with. Raises Refused."""
        try:
            found = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            version, start = int(found["rv"]), str(found["start"]).rstrip("\0")
        except (ValueError, KeyError, TypeError) as error:
            raise bad_request(f"invalid continue token: continue key is not valid: {error}") from None
        documents = self._snapshots.get(token)
        if documents is None:
            after = [
                each for each in rest if f"{each['metadata'].get('namespace', '')}/{each['metadata']['name']}" > start
            ]
            fresh = base64.urlsafe_b64encode(
                json.dumps({**found, "rv": self.version, "of": next(self._tokens)}).encode()
            )
            text = fresh.decode().rstrip("=")
            self._snapshots[text] = after
            raise expired(_EXPIRED, **{"continue": text})
        return self._page(documents, limit, str(version))
