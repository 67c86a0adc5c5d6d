"""Server-side apply: objects are made, or become what they are told to be, by the cluster's own merge.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.host.errors import HostError, Invalid, Unavailable, Unknown
from appliance.host.kubernetes.client import ClusterClient
from appliance.host.kubernetes.documents import Document, read_documents
from appliance.host.kubernetes.errors import ClusterError, Rejected
from appliance.host.kubernetes.kinds import Kind, Kinds, defined_by
from appliance.host.kubernetes.objects import Found, found_in
from appliance.host.kubernetes.views import View, common_view
from appliance.process.reactor import sleep
from appliance.threads import Threads

FIELD_MANAGER = "appliance"

_MEDIA_TYPE = "application/apply-patch+yaml"  # of which JSON is a part; older clusters know no other
_SECONDS = 60.0
_CREATED = 201
_DEFINED_SECONDS, _DEFINED_PAUSE = 10.0, 0.25
_NOT_BY_SCHEMA = (
    "failed to create typed patch object",
    "failed to convert new object",
    "strconv.",
)
"""How a cluster begins what it says of an object that is not of the form of its kind."""


class Interrupted(HostError):
    """One of several objects was refused: what became of all of them, and why it was."""

    def __init__(self, cause: HostError, applied: Sequence[str], refused: str, untried: Sequence[str]) -> None:
        super().__init__(f"{refused}: {cause}")
        self.cause = cause
        self.applied = applied
        # A cluster that has not answered may still have heard.
        outcome = "failed" if isinstance(cause, Unavailable) else "refused"
        lists = (("applied", applied), (outcome, [refused]), ("not tried", untried))
        self.details = "; ".join(f"{word}: {', '.join(titles) or 'none'}" for word, titles in lists)


@dataclass(frozen=True, slots=True)
class Applying:
    """How to apply: with `force` fields are taken from whoever manages them, with `dry_run` nothing is kept."""

    force: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Applied:
    """An object that was applied, as it is now, and whether it was made by that."""

    kind: Kind
    namespace: str
    name: str
    found: Found
    created: bool


@dataclass(slots=True)
class Planned:
    """Objects that are in order, in the order in which they will be applied."""

    documents: list[Document] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    new: list[bool] = field(default_factory=list)
    """Whether the kind is one that a document before it defines."""

    @property
    def titles(self) -> list[str]:
        """What they are called."""
        return [each.title for each in self.documents]


class Applier:
    """Applies objects."""

    def __init__(self, reactor: Any, threads: Threads, client: ClusterClient, kinds: Kinds) -> None:
        self._reactor = reactor
        self._threads = threads
        self._client = client
        self._kinds = kinds

    async def read(self, body: bytes, *, is_yaml: bool) -> list[Document]:
        """The objects in a body. Raises `Invalid`."""
        return await self._threads.run(read_documents, body, is_yaml=is_yaml)

    async def plan(self, documents: Sequence[Document], only: Kind | None = None) -> Planned:
        """Look through all of them before any is sent; those without a namespace get that of the context.

        Raises `Invalid`, also for other kinds than `only`, and what the client raises.
        """
        if only is not None:
            for each in documents:
                if (each.kind, each.api_version.rpartition("/")[0]) != (only.kind, only.group):
                    raise Invalid("kind", f"{only.kind} of {only.api_version} goes here, not {each.kind}")
        planned = Planned(list(documents))
        defined: list[Kind] = []
        found: dict[tuple[str, str], Kind] = {}
        for each in documents:
            identity = (each.api_version, each.kind)
            new = next((kind for kind in defined if kind.is_of(*identity)), None)
            kind = new or found.get(identity) or await self._kind_of(each)
            found[identity] = kind
            if each.kind == "CustomResourceDefinition":
                defined += defined_by(each.content)
            if kind.namespaced and not each.namespace:
                each.put_into(await self._client.default_namespace())
            elif each.namespace and not kind.namespaced:
                raise Invalid("metadata.namespace", f"{each.place}: a {each.kind} is in none")
            each.complete()
            planned.kinds.append(kind)
            planned.new.append(new is not None)
        planned.bodies = await self._threads.run(lambda: [each.encode() for each in documents])
        return planned

    async def apply(self, planned: Planned, how: Applying, view: View | None = None) -> list[Applied]:
        """Apply them one after the other; each is shown in the `view`, or the common one.

        Raises `Interrupted` where there are several and one is refused, or what it is refused with where it is alone.
        """
        done: list[Applied] = []
        for document, kind, body, new in zip(
            planned.documents, planned.kinds, planned.bodies, planned.new, strict=True
        ):
            shown = view or common_view(kind)
            try:
                if new and not how.dry_run:
                    done.append(await self._apply_when_known(document, kind, body, how, shown))
                else:
                    done.append(await self._apply(document, kind, body, how, shown))
            except HostError as error:
                if len(planned.documents) == 1:
                    raise
                titles = planned.titles
                raise Interrupted(error, titles[: len(done)], document.title, titles[len(done) + 1 :]) from error
        return done

    async def _kind_of(self, document: Document) -> Kind:
        try:
            return await self._kinds.of_object(document.api_version, document.kind)
        except Unknown as error:
            raise Invalid("kind", f"{document.place}: {error}") from None

    async def _apply_when_known(
        self, document: Document, kind: Kind, body: bytes, how: Applying, view: View
    ) -> Applied:
        """The same for a kind that was defined a moment ago: the cluster serves it a moment later."""
        end = self._reactor.seconds() + _DEFINED_SECONDS
        while True:
            try:
                return await self._apply(document, kind, body, how, view)
            except Unknown:
                if self._reactor.seconds() > end:
                    raise
            await sleep(self._reactor, _DEFINED_PAUSE)

    async def _apply(self, document: Document, kind: Kind, body: bytes, how: Applying, view: View) -> Applied:
        query = {"fieldManager": FIELD_MANAGER, "force": "true" if how.force else "false"}
        if how.dry_run:
            query["dryRun"] = "All"
        try:
            answer = await self._client.call(
                "PATCH",
                kind.path(document.namespace, document.name),
                query,
                content=body,
                content_type=_MEDIA_TYPE,
                seconds=_SECONDS,
            )
        except ClusterError as error:
            raise _judged(error) from None
        found = await self._threads.run(found_in, answer.body, kind, view, self._reactor.seconds(), whole=True)
        return Applied(kind, document.namespace, document.name, found, answer.status == _CREATED)


def _judged(error: ClusterError) -> HostError:
    """The cluster answers 500 where an object does not fit its schema: that is no failure of the cluster."""
    text = str(error)
    begins = [begin for words in _NOT_BY_SCHEMA if (begin := text.find(words)) >= 0]
    return Rejected(text[min(begins) :]) if begins else error
