"""Several kinds of events on one socket, over real sockets with sources that the test makes up."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, fail

from appliance.identity.caller import Permission, administrator, reader
from appliance.system.live.channel import Channel
from appliance.system.live.events import LIMIT, EventsChannel, Source, Stream
from appliance.system.live.messages import BadMessage, Incoming
from appliance.system.live.peer import Peer
from tests.support.live import LiveTestCase


class Told:
    """A stream that tells the list of its source when it is opened and closed."""

    def __init__(self, name: str, events: list[str]) -> None:
        self._name = name
        self._events = events
        events.append(f"open {name}")

    def close(self) -> None:
        self._events.append(f"close {self._name}")


class Notices:
    """A source; `wait` may hold back the opening."""

    def __init__(self, name: str, events: list[str], who: Permission = reader) -> None:
        self.who = who
        self.wait: Callable[[], Awaitable[Any]] | None = None
        self._name = name
        self._events = events

    async def open(self, peer: Peer, argument: str, message: Incoming) -> Stream:
        if self.wait is not None:
            await self.wait()
        return Told(f"{self._name}:{argument}" if argument else self._name, self._events)


class EventsTests(LiveTestCase):
    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        await super().setUp()
        self.told: list[str] = []
        self.notices = Notices("notices", self.told)
        self.sources: dict[str, Source] = {
            "notices": self.notices,
            "secrets": Notices("secrets", self.told, administrator),
        }

    def make(self, peer: Peer) -> Channel:
        return EventsChannel(peer, self.sources)

    async def test_channels_are_opened_and_closed_by_name(self) -> None:
        client = await self.authenticated()
        client.say("subscribe", payload={"channel": "notices"})
        client.say("subscribe", payload={"channel": "notices:here"})
        client.say("subscribe", payload={"channel": "notices:there"})
        client.say("unsubscribe", payload={"channel": "notices:here"})
        client.say("unsubscribe", payload={"channel": "unknown"})
        client.say("ping")
        await self.heard(client, 2)
        self.assertEqual(self.told, ["open notices", "open notices:here", "open notices:there", "close notices:here"])
        client.say("unsubscribe")
        client.say("ping")
        await self.heard(client, 3)
        self.assertEqual(self.told[4:], ["close notices", "close notices:there"])

    async def test_asking_again_replaces(self) -> None:
        client = await self.authenticated()
        for _ in range(2):
            client.say("subscribe", payload={"channel": "notices"})
        await self.until(lambda: len(self.told) == 3)
        self.assertEqual(self.told, ["open notices", "open notices", "close notices"])

    async def test_asking_again_for_what_there_cannot_be_leaves_what_there_is(self) -> None:
        client = await self.authenticated()
        client.say("subscribe", payload={"channel": "notices"})
        await self.until(lambda: self.told)
        self.notices.wait = lambda: fail(BadMessage("INVALID_INPUT", "not so"))
        client.say("subscribe", payload={"channel": "notices"})
        answer = (await self.heard(client, 2))[1]
        self.assertEqual(answer["code"], "INVALID_INPUT")
        self.assertEqual(self.told, ["open notices"])
        client.say("unsubscribe", payload={"channel": "notices"})
        await self.until(lambda: self.told == ["open notices", "close notices"])

    async def test_a_channel_for_administrators(self) -> None:
        bob = await self.authenticated("bob")
        bob.say("subscribe", payload={"channel": "secrets"}, id=1)
        answer = (await self.heard(bob, 2))[1]
        self.assertEqual((answer["code"], answer["id"]), ("PERMISSION_DENIED", 1))
        ann = await self.authenticated("ann")
        ann.say("subscribe", payload={"channel": "secrets"})
        await self.until(lambda: self.told == ["open secrets"])

    async def test_so_many_channels_and_no_more(self) -> None:
        client = await self.authenticated()
        for number in range(LIMIT + 1):
            client.say("subscribe", payload={"channel": f"notices:{number}"})
        answer = (await self.heard(client, 2))[1]
        self.assertEqual(answer["code"], "INVALID_INPUT")
        self.assertEqual(len(self.told), LIMIT)
        client.say("subscribe", payload={"channel": "notices:0"})  # again
        await self.until(lambda: len(self.told) == LIMIT + 2)

    async def test_the_end_of_the_socket_closes_all(self) -> None:
        client = await self.authenticated()
        client.say("subscribe", payload={"channel": "notices"})
        await self.until(lambda: self.told)
        client.transport.abortConnection()
        await self.until(lambda: len(self.told) == 2)

    async def test_a_channel_that_opens_after_the_end_is_closed(self) -> None:
        client = await self.authenticated()
        turn: Deferred[None] = Deferred()
        self.notices.wait = lambda: turn
        client.say("subscribe", payload={"channel": "notices"})
        client.say("unsubscribe")
        await self.settle()
        client.transport.abortConnection()
        await self.until(lambda: not self.open_sockets)
        self.assertEqual(self.told, [])
        turn.callback(None)
        self.assertEqual(self.told, ["open notices", "close notices"])

    async def test_an_unknown_channel_names_those_there_are(self) -> None:
        client = await self.authenticated()
        client.say("subscribe", payload={"channel": "weather"})
        answer = (await self.heard(client, 2))[1]
        self.assertEqual(answer["code"], "UNKNOWN_CHANNEL")
        self.assertIn("notices, secrets", answer["error"])
