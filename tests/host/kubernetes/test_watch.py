"""A cluster's events, from a cluster that the test plays."""

import json
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from appliance.background import Background
from appliance.host.errors import Forbidden, HostError
from appliance.host.kubernetes import watch as watch_module
from appliance.host.kubernetes.client import Answer
from appliance.host.kubernetes.errors import CLUSTER, ClusterAbsent, ClusterError, Expired
from appliance.host.kubernetes.events import ClusterEvent
from appliance.host.kubernetes.watch import FIRST_PAUSE, LONGEST_PAUSE, PAGE, SILENCE_SECONDS, ClusterEvents


def event(name: str, version: int, **more: object) -> dict[str, object]:
    return {
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": str(version)},
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": "shop"},
        "reason": "Started",
        **more,
    }


def line(action: str, name: str = "", version: int = 0, **more: object) -> bytes:
    return json.dumps({"type": action, "object": event(name, version, **more)}).encode() + b"\n"


def error(code: int) -> bytes:
    return (
        json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": code, "message": "too old"}}).encode() + b"\n"
    )


class Body:
    """An answer that comes by and by."""

    def __init__(self) -> None:
        self.closed = False
        self._pieces: list[bytes] = []
        self._error: Exception | None = None
        self._reader: Deferred[None] | None = None

    def say(self, data: bytes) -> None:
        self._pieces.append(data)
        self._wake()

    def fail(self) -> None:
        self._error = CLUSTER.broke()
        self.say(b"")

    async def read(self) -> bytes:
        if not self._pieces:
            self._reader = Deferred()
            await self._reader
        data = self._pieces.pop(0)
        if self._error is not None:
            raise self._error
        return data

    def close(self) -> None:
        self.closed = True

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(None)


class Cluster:
    """Answers lists from `items`, a few at a time; keeps the watches."""

    def __init__(self) -> None:
        self.version = 10
        self.items: list[dict[str, object]] = []
        self.refusal: HostError | None = None
        self.refuses_watches: HostError | None = None
        self.lists: list[tuple[str, dict[str, str]]] = []
        self.queries: list[dict[str, str]] = []
        self.watches: list[Body] = []

    async def call(self, method: str, path: str, query: Mapping[str, str]) -> Answer:
        self.lists.append((path, dict(query)))
        if self.refusal is not None:
            raise self.refusal
        begin = int(query.get("continue", "0"))
        page = self.items[begin : begin + 2]
        more = str(begin + 2) if begin + 2 < len(self.items) and query["limit"] != "1" else ""
        metadata = {"resourceVersion": str(self.version), "continue": more}
        return Answer(200, json.dumps({"metadata": metadata, "items": page}).encode())

    async def open(self, method: str, path: str, query: Mapping[str, str]) -> Body:
        self.queries.append(dict(query))
        refusal = self.refusal or self.refuses_watches
        if refusal is not None:
            raise refusal
        self.watches.append(Body())
        return self.watches[-1]

    @property
    def versions(self) -> list[str]:
        """From where was watched."""
        return [query["resourceVersion"] for query in self.queries]


class WatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        cluster: Any = Cluster()
        self.cluster: Cluster = cluster
        self.clock = Clock()
        self.background = Background()
        self.events = ClusterEvents(self.clock, cluster, self.background)
        self.told: list[ClusterEvent] = []

    def tearDown(self) -> None:
        self.successResultOf(self.background.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def listen(self, namespace: str = "", told: list[ClusterEvent] | None = None) -> Any:
        listener = (self.told if told is None else told).append
        return self.successResultOf(Deferred.fromCoroutine(self.events.listen(namespace, listener)))

    def heard(self) -> list[tuple[str, str]]:
        return [(each.action, each.name) for each in self.told]

    def test_one_watch_for_all_of_a_namespace_and_none_for_nobody(self) -> None:
        also: list[ClusterEvent] = []
        leave = self.listen("shop")
        leave_also = self.listen("shop", also)
        self.listen()()
        self.assertEqual(
            [path for path, _ in self.cluster.lists][1:], ["/api/v1/namespaces/shop/events", "/api/v1/events"]
        )
        first, other = self.cluster.watches
        self.assertTrue(other.closed)
        first.say(line("ADDED", "a", 11)[:30])
        first.say(line("ADDED", "a", 11)[30:] + line("MODIFIED", "a", 12))
        self.assertEqual(self.heard(), [("ADDED", "a"), ("MODIFIED", "a")])
        self.assertEqual(also, self.told)
        leave()
        leave()
        self.assertFalse(first.closed)
        leave_also()
        self.assertTrue(first.closed)
        self.listen("shop")
        self.assertEqual(len(self.cluster.watches), 3)

    def test_it_goes_on_from_what_was_heard_last(self) -> None:
        self.listen()
        self.cluster.version = 50
        self.assertEqual(self.cluster.queries[0]["allowWatchBookmarks"], "true")
        self.cluster.watches[0].say(line("ADDED", "a", 15))
        self.cluster.watches[0].say(b"")
        self.clock.advance(FIRST_PAUSE)
        self.cluster.watches[1].say(line("BOOKMARK", version=40))
        self.cluster.watches[1].fail()
        self.clock.advance(FIRST_PAUSE)
        self.cluster.watches[2].say(line("DELETED", "a", 41))
        self.assertEqual(self.cluster.versions, ["10", "15", "40"])
        self.assertEqual(self.heard(), [("ADDED", "a"), ("DELETED", "a")])
        self.assertTrue(self.cluster.watches[0].closed and self.cluster.watches[1].closed)

    def test_a_cluster_that_was_restored_or_is_another_one(self) -> None:
        self.listen()
        self.cluster.watches[0].say(line("ADDED", "a", 15))
        self.cluster.watches[0].fail()
        self.cluster.version = 3
        self.clock.advance(FIRST_PAUSE)
        self.cluster.watches[1].say(line("ADDED", "b", 4))
        self.assertEqual(self.cluster.versions, ["10", "3"])
        self.assertEqual(self.heard(), [("ADDED", "a"), ("ADDED", "b")])

    def test_what_is_forgotten_is_asked_for_and_nothing_told_twice(self) -> None:
        self.listen()
        self.cluster.watches[0].say(line("ADDED", "a", 15) + error(410))
        self.cluster.version = 30
        self.cluster.items = [event("d", 25, count=2), event("a", 15), event("b", 9), event("c", 16), event("e", 29)]
        self.clock.advance(FIRST_PAUSE)
        self.assertEqual(self.heard(), [("ADDED", "a"), ("ADDED", "c"), ("MODIFIED", "d"), ("ADDED", "e")])
        self.assertEqual([query["limit"] for _, query in self.cluster.lists[1:]], [str(PAGE)] * 3)
        self.assertEqual(self.cluster.versions, ["10", "30"])

    def test_a_watch_that_is_refused_begins_anew(self) -> None:
        for refusal in (Expired("old"), ClusterError("Kubernetes: Timeout: Too large resource version")):
            self.cluster.version = 10
            leave = self.listen()
            self.cluster.watches[-1].say(b"")
            self.cluster.refuses_watches = refusal
            self.clock.advance(FIRST_PAUSE)
            self.cluster.refuses_watches, self.cluster.version = None, 3
            self.clock.advance(2 * FIRST_PAUSE)
            self.assertEqual(self.cluster.versions[-1], "3")
            leave()
        self.assertEqual(self.told, [])

    def test_a_cluster_that_is_away_is_looked_for_less_and_less_often(self) -> None:
        self.listen()
        self.cluster.watches[0].fail()
        self.cluster.refusal = ClusterAbsent("nothing answers")
        error = self.failureResultOf(Deferred.fromCoroutine(self.events.listen("", self.told.append)))
        self.assertIsInstance(error.value, ClusterAbsent)
        for _ in range(400):
            self.clock.advance(FIRST_PAUSE)
        tried = len(self.cluster.lists)
        self.assertTrue(5 < tried < 25, tried)
        self.cluster.refusal = None
        self.clock.advance(LONGEST_PAUSE)
        self.cluster.watches[1].say(line("ADDED", "a", 11))
        self.cluster.version = 11
        self.assertEqual(self.heard(), [("ADDED", "a")])
        self.assertEqual(set(self.cluster.versions), {"10"})
        self.cluster.watches[1].fail()
        self.clock.advance(FIRST_PAUSE)
        self.assertEqual(len(self.cluster.watches), 3)

    def test_a_cluster_that_is_silent_is_asked_again(self) -> None:
        self.listen()
        self.clock.advance(SILENCE_SECONDS)
        self.assertTrue(self.cluster.watches[0].closed)
        self.clock.advance(FIRST_PAUSE)
        self.assertEqual(len(self.cluster.watches), 2)

    def test_what_cannot_be_understood_is_not_asked_for_again(self) -> None:
        self.listen()
        for said in (
            b"<html>\n",
            b'{"type":"ADDED","object":[]}\n',
            b"x" * (2 << 20),
            b'{"type":"ADDED","object":{"x":' + b"[" * 5000 + b"\n",
        ):
            self.cluster.version += 10
            self.cluster.watches[-1].say(said)
            self.clock.advance(FIRST_PAUSE)
            self.cluster.watches[-1].say(line("BOOKMARK", version=self.cluster.version))
        self.assertEqual(self.cluster.versions, ["10", "20", "30", "40", "50"])

    def test_a_version_of_thousands_of_digits_is_no_number(self) -> None:
        self.listen()
        self.cluster.watches[0].say(line("ADDED", "a", 11).replace(b'"11"', b'"%b"' % (b"1" * 5000)) + error(410))
        self.clock.advance(FIRST_PAUSE)
        self.assertEqual(self.cluster.versions[1:], ["10"])
        self.cluster.watches[1].say(line("ADDED", "b", 12))
        self.assertEqual(self.heard(), [("ADDED", "a"), ("ADDED", "b")])

    def test_of_many_that_were_missed_not_all_are_told_at_once(self) -> None:
        self.listen()
        self.cluster.items = [event(str(number), 11 + number) for number in range(250)]
        self.patch(watch_module, "PAGES", 200)
        self.cluster.watches[0].say(error(410))
        told = []
        self.clock.callLater(FIRST_PAUSE, lambda: self.clock.callLater(0, lambda: told.append(len(self.told))))
        self.clock.advance(FIRST_PAUSE)
        self.assertIn(told, ([100], [200]))  # when it was somebody else's turn
        self.assertEqual([each.name for each in self.told], [str(number) for number in range(250)])
        self.assertEqual(len(self.cluster.watches), 2)

    def test_who_may_not_watch_is_told(self) -> None:
        self.cluster.refusal = Forbidden("events is forbidden")
        self.failureResultOf(Deferred.fromCoroutine(self.events.listen("shop", self.told.append)), Forbidden)
        self.assertEqual(self.cluster.watches, [])

    def test_what_is_told(self) -> None:
        self.listen()
        old = {
            "type": "Warning",
            "message": "it fell",
            "count": 3,
            "firstTimestamp": "2026-01-01T00:00:00Z",
            "lastTimestamp": "2026-01-02T00:00:00Z",
            "source": {"component": "kubelet", "host": "node1"},
            "eventTime": None,
        }
        new = {
            "type": "Normal",
            "eventTime": "2026-01-03T00:00:00.000001Z",
            "series": {"count": 7, "lastObservedTime": "2026-01-04T00:00:00.000001Z"},
            "reportingComponent": "example.org/agent",
            "reportingInstance": "agent-1",
            "firstTimestamp": None,
            "lastTimestamp": None,
            "source": {},
        }
        self.cluster.watches[0].say(line("ADDED", "a", 11, **old) + line("MODIFIED", "b", 12, **new))
        first, second = self.told
        self.assertEqual((first.type, first.reason, first.message, first.count), ("Warning", "Started", "it fell", 3))
        self.assertEqual((first.object.kind, first.object.name, first.namespace), ("Pod", "web", "shop"))
        self.assertEqual(first.first_timestamp, "2026-01-01T00:00:00Z")
        self.assertEqual((first.timestamp, first.last_timestamp), ("2026-01-02T00:00:00Z",) * 2)
        self.assertEqual((first.component, first.host), ("kubelet", "node1"))
        self.assertEqual((second.first_timestamp, second.timestamp), (new["eventTime"], "2026-01-04T00:00:00.000001Z"))
        self.assertEqual((second.count, second.component, second.host), (7, "example.org/agent", "agent-1"))

    def test_what_readers_see(self) -> None:
        self.listen()
        for reason in ("Unhealthy", "Started"):
            self.cluster.watches[0].say(line("ADDED", "a", 11, reason=reason, message="pw=hush"))
        hidden, shown = self.told
        self.assertEqual(hidden.masked().message, "***")
        self.assertEqual(hidden.masked().reason, "Unhealthy")
        self.assertEqual(shown.masked(), shown)
