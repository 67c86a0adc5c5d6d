import json
from datetime import UTC, datetime
from typing import Any

from appliance.background import Background
from appliance.host.containers.docker import events as events_module
from appliance.host.containers.docker.events import ContainerEvent, DockerEvents
from appliance.host.containers.errors import EngineAbsent
from tests.support.fake_engine import Connection, EngineTestCase, chunked, reactor

EVENTS = "GET /events"


def line(action: str, at: int = 1_800_000_000_000_000_000, **attributes: str) -> bytes:
    actor = {"ID": "c", "Attributes": {"name": "box", **attributes}}
    said = {"Type": "container", "Action": action, "Actor": actor, "time": at // 10**9, "timeNano": at}
    return json.dumps(said).encode() + b"\n"


def piece(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class EventsTests(EngineTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(events_module, "AGAIN_SECONDS", 0.01)
        self.background = Background()
        self.events = DockerEvents(reactor, self.client, self.background)
        self.asked: list[Connection] = []
        self.engine.said[EVENTS] = self.begin
        self.told: list[ContainerEvent] = []

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.background.stop()

    def begin(self, connection: Connection) -> None:
        connection.write(chunked(whole=False))
        self.asked.append(connection)

    async def hear(self, count: int) -> list[str]:
        await self.until(lambda: len(self.told) == count)
        return [event.action for event in self.told]

    def sinces(self) -> list[str]:
        """The times since which was asked."""
        return [each.partition("since=")[2].partition("&")[0] for each in self.engine.heard if "/events" in each]

    async def test_a_time_that_cannot_be_is_not_the_end_of_hearing(self) -> None:
        await self.events.listen(self.told.append)
        for number, odd in enumerate((10**30, -(10**30), 10**22)):
            await self.until(lambda number=number: len(self.asked) > number)  # type: ignore[misc]
            self.asked[-1].write(piece(line("odd", odd)))
        await self.until(lambda: len(self.asked) > 3)
        self.asked[-1].write(piece(line("start", 1_900_000_000_000_000_000)))
        self.assertEqual(await self.hear(1), ["start"])

    async def test_one_ear_for_all_and_none_for_nobody(self) -> None:
        also: list[Any] = []
        leave = await self.events.listen(self.told.append)
        leave_also = await self.events.listen(also.append)
        await self.until(lambda: self.asked)
        self.asked[0].write(piece(line("start") + line("die")[:20]))
        self.asked[0].write(piece(line("die")[20:]))
        self.assertEqual(await self.hear(2), ["start", "die"])
        self.assertEqual(also, self.told)
        leave()
        self.assertFalse(self.asked[0].closed)
        leave_also()
        leave_also()
        await self.until(lambda: self.asked[0].closed)
        leave = await self.events.listen(self.told.append)
        await self.until(lambda: len(self.asked) == 2)
        leave()

    async def test_nothing_that_happens_meanwhile_is_missed(self) -> None:
        before = reactor.seconds()
        await self.events.listen(self.told.append)
        await self.until(lambda: self.asked)
        self.assertLess(abs(float(self.sinces()[0]) - before), 5)
        self.asked[0].write(piece(line("start", at=2_000_000_000_123_456_789)))
        await self.hear(1)
        self.asked[0].close()
        await self.until(lambda: len(self.asked) == 2)
        self.assertEqual(self.sinces()[1], "2000000000.123456790")
        self.asked[1].write(piece(line("die")))
        self.assertEqual(await self.hear(2), ["start", "die"])

    async def test_an_engine_that_is_away_for_a_while(self) -> None:
        await self.events.listen(self.told.append)
        await self.until(lambda: self.asked)
        await self.engine.stop()
        self.assertIsInstance(await self.failure(self.events.listen(self.told.append)), EngineAbsent)
        self.engine.listen()
        await self.until(lambda: len(self.asked) == 2)
        self.asked[1].write(piece(line("start")))
        self.assertEqual(await self.hear(1), ["start"])

    async def test_what_cannot_be_understood_is_not_asked_for_again(self) -> None:
        await self.events.listen(self.told.append)
        for said in (b"<html>\n", b"x" * (2 << 20)):
            await self.until(lambda: len(self.asked) == len(self.told) + 1)
            self.asked[-1].write(piece(line("start", at=1_000_000_000) + said))
            await self.hear(len(self.told) + 1)
        await self.until(lambda: len(self.asked) == 3)
        self.assertTrue(all(float(since) > 1_000_000 for since in self.sinces()))

    def test_what_readers_see(self) -> None:
        event = ContainerEvent(
            id="c",
            name="box",
            action="exec_start: mysql --password=x",
            type="container",
            timestamp=datetime.now(UTC),
            attributes={
                "name": "box",
                "image": "bb:1",
                "exitCode": "1",
                "token": "x",
                "com.docker.compose.service": "s",
            },
        )
        masked = event.masked()
        self.assertEqual(masked.action, "exec_start")
        self.assertEqual(masked.attributes, {**event.attributes, "token": "***"})
