"""Lists of objects: page by page from the cluster, each read in a thread, and one list made for all who wait for it."""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, DeferredLock, TimeoutError
from twisted.internet.interfaces import IReactorTime

from appliance.host.errors import Invalid, Unavailable
from appliance.host.kubernetes.client import ClusterClient
from appliance.host.kubernetes.errors import ClusterError, Expired
from appliance.host.kubernetes.kinds import Kind
from appliance.host.kubernetes.views import View
from appliance.host.kubernetes.wire import ListMetadata, Page
from appliance.host.shared import Fresh
from appliance.process.reactor import sleep, within
from appliance.threads import Threads

PAGE = 250
"""Objects asked for at once: as JSON some megabytes, which a thread reads before the reactor has to wait for it."""
ITEMS_LIMIT = 50_000
_PAGE_BYTES = 64 << 20
_SECONDS = 120.0
_SHARED_LIMIT = 100
"""Lists that are kept in mind for who asks for the same again."""
_LARGE = 128 * 1024
_BEGINNINGS = 3
"""How often a list is begun anew because the cluster has forgotten the one it was a page of."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects: those in `namespace` (empty: in all), and those that the selectors let through."""

    namespace: str = ""
    labels: str = ""
    fields: str = ""

    def query(self, limit: int, continued: str) -> dict[str, str]:
        """As the API's parameters."""
        query = {"limit": str(limit)}
        for name, value in (
            ("labelSelector", self.labels),
            ("fieldSelector", self.fields),
            ("continue", continued),
        ):
            if value:
                query[name] = value
        return query


@dataclass(frozen=True, slots=True)
class Listed:
    """The JSON of an array of views, its bytes, their number, and where a next page begins (empty after the last)."""

    rows: msgspec.Raw
    size: int
    count: int
    continued: str = ""


@dataclass(frozen=True, slots=True)
class _Read:
    rows: list[Any]
    continued: str


class Listing:
    """Lists objects. All methods raise what the client raises."""

    def __init__(self, reactor: Any, threads: Threads, client: ClusterClient) -> None:
        self._reactor = reactor
        self._threads = threads
        self._client = client
        self._turns = DeferredLock()
        self._shared: dict[Hashable, Fresh[Listed]] = {}

    async def all(self, kind: Kind, view: View, selection: Selection) -> Listed:
        """All of them, in the cluster's order.

        Nobody gets a list that began before he asked; who waits for the same one shares it. Raises `Unavailable` for
        more than `ITEMS_LIMIT`.
        """
        key = (kind, view.type, view.whole, selection)
        if key not in self._shared:
            if len(self._shared) == _SHARED_LIMIT:
                self._shared.clear()
            self._shared[key] = Fresh(partial(self._gather, kind, view, selection))
        listed = await self._shared[key].result()
        if listed.size > _LARGE:
            await self._turn()
        return listed

    async def page(self, kind: Kind, view: View, selection: Selection, limit: int, continued: str) -> Listed:
        """At most `limit` of them, from where an earlier page said it is `continued` (empty: from the first).

        Raises `Invalid` where the cluster has forgotten that.
        """
        try:
            read = await self._read(kind, view, selection, limit, continued)
        except Expired as error:
            raise Invalid("continue", f"too old, begin with the first page again ({error})") from None
        return await self._threads.run(_listed, read.rows, read.continued)

    async def _turn(self) -> None:
        """Those who got a large list together go on one after the other, for each has to be sent it."""
        await self._turns.acquire()
        try:
            await sleep(self._reactor, 0)
        finally:
            self._turns.release()

    async def _gather(self, kind: Kind, view: View, selection: Selection) -> Listed:
        try:
            gathering = Deferred.fromCoroutine(self._pages(kind, view, selection))
            rows = await within(self._reactor, _SECONDS, gathering)
        except TimeoutError:
            raise ClusterError(f"The cluster did not list its {kind.plural} within {_SECONDS:.0f} seconds") from None
        return await self._threads.run(_listed, rows, "")

    async def _pages(self, kind: Kind, view: View, selection: Selection) -> list[Any]:
        for _ in range(_BEGINNINGS):
            rows: list[Any] = []
            continued = ""
            try:
                while True:
                    read = await self._read(kind, view, selection, PAGE, continued)
                    rows += read.rows
                    continued = read.continued
                    if len(rows) > ITEMS_LIMIT:
                        raise Unavailable(
                            f"There are more than {ITEMS_LIMIT} {kind.plural}; ask for those of a namespace, or for"
                            " pages by `limit` and `continue`"
                        )
                    if not continued:
                        return rows
            except Expired:
                continue
        raise ClusterError(f"The cluster changes faster than its {kind.plural} can be listed")

    async def _read(self, kind: Kind, view: View, selection: Selection, limit: int, continued: str) -> _Read:
        path = kind.collection(selection.namespace)
        answer = await self._client.call("GET", path, selection.query(limit, continued), limit=_PAGE_BYTES)
        return await self._threads.run(_read_page, answer.decode, view, IReactorTime(self._reactor).seconds())


def _read_page(decode: Any, view: View, now: float) -> _Read:
    page = decode(Page)
    metadata = page.metadata or ListMetadata()
    return _Read([view.of(each, now) for each in page.items or []], metadata.continue_)


def _listed(rows: list[Any], continued: str) -> Listed:
    encoded = msgspec.json.encode(rows)
    return Listed(msgspec.Raw(encoded), len(encoded), len(rows), continued)
