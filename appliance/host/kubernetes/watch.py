"""A cluster's events as they happen: one watch for all who want to hear of a namespace.

Kubernetes API concepts, "Efficient detection of changes": a list tells the version to watch from; the server ends
each watch after a while, and one goes on from the version of what was heard last. A server that does not know that
version any more (410) is asked for what there is.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast, get_args

import msgspec
from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger

from appliance.background import Background
from appliance.host.errors import HostError
from appliance.host.kubernetes.client import ClusterClient, segment
from appliance.host.kubernetes.errors import CLUSTER, ClusterAbsent, ClusterError
from appliance.host.kubernetes.events import Action, ClusterEvent, EventList, WireEvent
from appliance.host.outgoing.body import Body
from appliance.host.outgoing.json_lines import JsonLines
from appliance.host.outgoing.peer import UNREADABLE
from appliance.process.reactor import sleep, within

WATCH_SECONDS = 240
"""How long a watch lasts, at most: what has broken without a word is noticed after that."""
SILENCE_SECONDS = WATCH_SECONDS + 20.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Between a watch and the next one, doubled as long as the cluster does not answer."""
PAGE, PAGES = 500, 20
"""How many events are looked at after a version was forgotten, and how many pages of them at most."""
_LINE_LIMIT = 1 << 20
_TURN = 100
"""How many events are told at once of those that were missed."""
_DIGITS = 20
"""Those of 64 bits."""
_ACTIONS = get_args(Action)

Listener = Callable[[ClusterEvent], None]
T = TypeVar("T")


class _Change(msgspec.Struct):
    """One line of a watch."""

    type: str
    object: msgspec.Raw


class _Status(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Forgotten(Exception):
    """The server cannot go on from the version it was given."""


class ClusterEvents:
    """Watches as long as somebody wants to hear, also after the cluster was away."""

    def __init__(self, reactor: Any, client: ClusterClient, background: Background) -> None:
        self._reactor = reactor
        self._client = client
        self._background = background
        self._watches: dict[str, _Watch] = {}

    async def listen(self, namespace: str, listener: Listener) -> Callable[[], None]:
        """Call `listener` with what happens from now on in a namespace ("": in all); what is returned ends that.

        `namespace` is a name that may be one. Raises `ClusterAbsent`, `ClusterError`, `Forbidden`.
        """
        path = f"/api/v1/namespaces/{segment(namespace)}/events" if namespace else "/api/v1/events"
        answer = await self._client.call("GET", path, {"limit": "1"})
        version = answer.decode(EventList).metadata.resource_version
        watch = self._watches.get(namespace)
        if watch is None:
            watch = self._watches[namespace] = _Watch(self._reactor, self._client, path, version)
            watch.begin(self._background)
        key = object()
        watch.listeners[key] = listener
        return lambda: self._leave(namespace, key)

    def _leave(self, namespace: str, key: object) -> None:
        watch = self._watches.get(namespace)
        if watch is not None and watch.listeners.pop(key, None) is not None and not watch.listeners:
            del self._watches[namespace]
            watch.end()


class _Watch:
    """The events of one path, from a version on."""

    _log = Logger()

    def __init__(self, reactor: Any, client: ClusterClient, path: str, version: str) -> None:
        self.listeners: dict[object, Listener] = {}
        self._reactor = reactor
        self._client = client
        self._path = path
        self._version = version
        self._pause = FIRST_PAUSE
        self._running: Deferred[None] | None = None

    def begin(self, background: Background) -> None:
        """Start to watch."""
        self._running = Deferred.fromCoroutine(self._run())
        background.own("watching a cluster", self._running)

    def end(self) -> None:
        """Watch no more."""
        if self._running is not None:
            self._running.cancel()

    async def _run(self) -> None:
        is_first, is_forgotten = True, False
        while True:
            try:
                if is_forgotten:
                    await self._catch_up()
                    is_forgotten = False
                elif not is_first:
                    await self._check()
                is_first = False
                await self._hear()
            except _Forgotten as reason:
                self._log.info("A cluster's events are listed anew: {reason}", reason=str(reason))
                is_forgotten = True
            except HostError as error:
                self._log.info("A cluster's events are not heard at the moment: {error}", error=str(error))
            await sleep(self._reactor, self._pause)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    async def _hear(self) -> None:
        """Tell what happens until the server ends the watch. Raises `_Forgotten`, `HostError`."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        try:
            body = await self._client.open("GET", self._path, query)
        except ClusterAbsent:
            raise
        except HostError as refusal:  # 410, a version of a time to come, or what an answer does not tell from that
            raise _Forgotten(str(refusal)) from refusal
        try:
            lines = JsonLines(_Change, _LINE_LIMIT, CLUSTER)
            while data := await self._read(body):
                self._take(lines, data)
        finally:
            body.close()
        self._pause = FIRST_PAUSE

    def _take(self, lines: JsonLines[_Change], data: bytes) -> None:
        try:
            for change in lines.feed(data):
                self._change(change)
        except ClusterError as error:  # what cannot be understood would come again
            raise _Forgotten(str(error)) from error

    async def _read(self, body: Body) -> bytes:
        try:
            return await within(self._reactor, SILENCE_SECONDS, Deferred.fromCoroutine(body.read()))
        except TimeoutError:
            raise ClusterError("Kubernetes is silent") from None

    def _change(self, change: _Change) -> None:
        if change.type == "ERROR":
            status = _decoded(change.object, _Status)
            raise _Forgotten(f"{status.code} {status.message}"[:200])
        self._pause = FIRST_PAUSE
        event = _decoded(change.object, WireEvent)  # of a BOOKMARK the version only
        self._version = event.metadata.resource_version or self._version
        if change.type in _ACTIONS:
            self._tell(event.told(cast(Action, change.type)))

    async def _check(self) -> None:
        """Begin anew with a cluster that is younger than what was heard of it: one that was restored, or another.

        It would be silent until it has come to that version. Raises `HostError`.
        """
        answer = await self._client.call("GET", self._path, {"limit": "1"})
        version = answer.decode(EventList).metadata.resource_version
        last, now = _number(self._version), _number(version)
        if last is not None and now is not None and now < last:
            self._version = version

    async def _catch_up(self) -> None:
        """Tell what has happened since the last version, as far as versions can be compared, and go on from now.

        What was deleted meanwhile is not told. Raises `HostError`.
        """
        last, version = _number(self._version), ""
        missed: list[WireEvent] = []
        query = {"limit": str(PAGE)}
        for _ in range(PAGES):
            answer = await self._client.call("GET", self._path, query)
            page = answer.decode(EventList)
            version = version or page.metadata.resource_version
            missed += [event for event in page.items or () if last is not None and _follows(event, last)]
            if not page.metadata.continue_:
                break
            query["continue"] = page.metadata.continue_
        self._version = version
        for number, event in enumerate(sorted(missed, key=lambda event: int(event.metadata.resource_version)), 1):
            told = event.told("ADDED")
            self._tell(told if told.count == 1 else event.told("MODIFIED"))
            if number % _TURN == 0:  # others get theirs
                await sleep(self._reactor, 0)

    def _tell(self, event: ClusterEvent) -> None:
        for listener in list(self.listeners.values()):
            listener(event)


def _follows(event: WireEvent, last: int) -> bool:
    number = _number(event.metadata.resource_version)
    return number is not None and number > last


def _number(version: str) -> int | None:
    """Versions are opaque, but all known servers count them."""
    return int(version) if version.isascii() and version.isdigit() and len(version) <= _DIGITS else None


def _decoded(raw: msgspec.Raw, type: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=type)
    except UNREADABLE as error:
        raise CLUSTER.is_unintelligible(error) from error
