"""Events of containers on their way to clients that are quick, slow, or gone."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from appliance.background import Background
from appliance.host.containers.docker.events import ContainerEvent
from appliance.identity.caller import Caller
from appliance.system.live.container_events import ContainerEventsSource
from appliance.system.live.event_stream import HELD, LOST
from appliance.system.live.messages import Incoming


class Engine:
    """Where events come from."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[ContainerEvent], None]] = []

    async def listen(self, listener: Callable[[ContainerEvent], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def happen(self, action: str, type: str = "container", name: str = "box") -> None:
        attributes = {"name": name, "token": "hush"}
        event = ContainerEvent(f"id-{name}", name, action, type, datetime(2026, 1, 1, tzinfo=UTC), attributes)
        for listener in list(self.listeners):
            listener(event)


class Client:
    """A peer that the test makes slow."""

    def __init__(self, *roles: str) -> None:
        self.caller = Caller("token", "someone", frozenset(roles))
        self.slow = False
        self.frames: list[bytes] = []
        self.errors: list[tuple[str, str]] = []
        self._waiting: Deferred[None] | None = None

    def send_prepared(self, frame: bytes) -> None:
        self.frames.append(frame)

    def error(self, code: str, text: str) -> None:
        self.errors.append((code, text))

    async def drained(self) -> None:
        if self.slow:
            self._waiting = Deferred()
            await self._waiting

    def catch_up(self) -> None:
        self.slow = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    @property
    def actions(self) -> list[str]:
        return [event["action"] for event in self.events]

    @property
    def events(self) -> list[Any]:
        return [msgspec.json.decode(frame[frame.index(b"{") :])["payload"] for frame in self.frames]


class ContainerEventsTests(SynchronousTestCase):
    def setUp(self) -> None:
        engine: Any = Engine()
        self.engine: Engine = engine
        self.source = ContainerEventsSource(engine, Background())

    def subscribe(self, *roles: str, **filters: object) -> tuple[Any, Any]:
        client: Any = Client(*roles)
        message = {"type": "subscribe", "payload": {"channel": "container-events", "filters": filters}}
        opening = Deferred.fromCoroutine(self.source.open(client, "", Incoming(msgspec.json.encode(message))))
        return client, self.successResultOf(opening)

    def test_who_sees_what(self) -> None:
        admin, _ = self.subscribe("administrator", "reader")
        reader, _ = self.subscribe("reader")
        self.engine.happen("exec_create: mysql -phush")
        self.assertEqual(admin.events[0]["action"], "exec_create: mysql -phush")
        self.assertEqual(admin.events[0]["attributes"]["token"], "hush")
        self.assertEqual(reader.actions, ["exec_create"])
        self.assertNotIn("hush", str(reader.events))

    def test_filters(self) -> None:
        for filters, wanted in (
            ({}, ["start", "die"]),
            ({"action": ["die"]}, ["die"]),
            ({"container": ["id-box"]}, ["start"]),
            ({"type": ["volume", "container"]}, ["start", "die", "create"]),
        ):
            client, stream = self.subscribe("reader", **filters)
            self.engine.happen("start")
            self.engine.happen("die", name="other")
            self.engine.happen("create", type="volume")
            self.assertEqual(client.actions, wanted)
            stream.close()
        self.assertEqual(self.engine.listeners, [])

    def test_a_slow_client_gets_all_in_order(self) -> None:
        client, _ = self.subscribe("reader")
        self.engine.happen("a")
        client.slow = True
        for action in "bcd":
            self.engine.happen(action)
        self.assertEqual(client.actions, ["a"])
        client.catch_up()
        self.assertEqual(client.actions, ["a", "b", "c", "d"])
        self.engine.happen("e")
        self.assertEqual(client.actions, ["a", "b", "c", "d", "e"])
        self.assertEqual(client.errors, [])

    def test_a_client_that_is_too_slow_is_told_what_it_has_lost(self) -> None:
        client, _ = self.subscribe("reader")
        client.slow = True
        for number in range(HELD + 5):
            self.engine.happen(str(number))
        client.catch_up()
        self.assertEqual(client.actions, [str(number) for number in range(HELD)])
        self.assertEqual([code for code, _ in client.errors], [LOST])
        self.assertIn("5 events", client.errors[0][1])

    def test_events_that_are_huge_wait_in_small_numbers(self) -> None:
        client, _ = self.subscribe("reader")
        client.slow = True
        for _ in range(20):
            self.engine.happen("x" * (1 << 20))
        client.catch_up()
        self.assertEqual(len(client.frames), 7)
        self.assertIn("13 events", client.errors[0][1])
        client.slow = True
        self.engine.happen("x" * (1 << 20))
        client.catch_up()
        self.assertEqual(len(client.frames), 8)

    def test_a_slow_client_that_goes(self) -> None:
        client, stream = self.subscribe("reader")
        client.slow = True
        self.engine.happen("a")
        stream.close()
        client.catch_up()
        self.assertEqual(client.actions, [])
