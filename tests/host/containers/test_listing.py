import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults

from appliance.host.containers.docker.listing import ContainerListing, parse_filters, port_texts
from appliance.host.containers.docker.model import DockerContainer
from appliance.host.containers.docker.wire import Port
from appliance.host.errors import Invalid, Unknown
from tests.support.fake_engine import Connection, EngineTestCase, answer

LIST = "GET /containers/json"


class ListingTests(EngineTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.listing = ContainerListing(self.client)
        self.waiting: list[Connection] = []
        self.engine.said[LIST] = self.waiting.append

    def ask(self, **options: Any) -> "Deferred[list[DockerContainer]]":
        return Deferred.fromCoroutine(self.listing.containers(**options))

    async def asked(self, count: int) -> None:
        await self.until(lambda: len(self.waiting) == count)

    async def test_who_asks_meanwhile_shares_the_next_list(self) -> None:
        asking = [self.ask() for _ in range(5)]
        await self.asked(1)
        self.waiting[0].write(answer(b'[{"Id":"a"}]'))
        await self.asked(2)
        self.waiting[1].write(answer(b'[{"Id":"a"},{"Id":"b"}]'))
        first, second, *others = await gatherResults(asking)
        self.assertEqual([each.id for each in first], ["a"])
        self.assertEqual([each.id for each in second], ["a", "b"])
        for other in others:
            self.assertIs(other, second)
        self.assertEqual(self.engine.heard[1:], ["GET /v1.41/containers/json?all=1"] * 2)

    async def test_running_ones_filtered_ones_and_all_are_asked_for_apart(self) -> None:
        asking = [self.ask(all=False), self.ask(all=True), self.ask(limit=2), self.ask(filters={"name": ["a b"]})]
        await self.asked(4)
        for connection in self.waiting:
            connection.write(answer(b"[]"))
        await gatherResults(asking)
        self.assertEqual(
            sorted(each.partition("?")[2] for each in self.engine.heard if "?" in each),
            sorted(["all=0", "all=1", "all=1&limit=2", "all=1&filters=%7B%22name%22%3A%5B%22a+b%22%5D%7D"]),
        )

    async def test_a_failure_goes_to_all_and_is_not_kept(self) -> None:
        first, *others = [self.ask() for _ in range(3)]
        for number, asking in enumerate(([first], others)):
            await self.asked(number + 1)
            self.waiting[number].write(answer(b'{"message":"no"}', 404))
            for each in asking:
                self.assertIsInstance(await self.failure(each), Unknown)
        again = self.ask()
        await self.asked(3)
        self.waiting[2].write(answer(b"[]"))
        self.assertEqual(await again, [])

    async def test_what_an_engine_leaves_out(self) -> None:
        asking = self.ask()
        await self.asked(1)
        said = [{"Id": "a", "Names": None, "Ports": None, "Labels": None, "Extra": {"x": [1]}}]
        self.waiting[0].write(answer(json.dumps(said).encode()))
        (found,) = await asking
        self.assertEqual((found.names, found.ports, found.labels, found.state), ([], [], {}, ""))


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ('{"status":["running","paused"]}', {"status": ["running", "paused"]}),
        ('{"status":{"running":true}}', {"status": ["running"]}),
        ("status=running", {"status": ["running"]}),
        ("label=a=b", {"label": ["a=b"]}),
        ("{}", {}),
    ],
)
def test_filters(text: str, filters: dict[str, list[str]]) -> None:
    assert parse_filters(text) == filters


@pytest.mark.parametrize(
    "text",
    [
        *(
            "running",
            "[]",
            '{"status":"running"}',
            '{"isolation":["x"]}',
            "status=",
            "=x",
            '{"status":[1]}',
            "{",
            "x=y",
        ),
        *('{"label":' + json.dumps(["x"] * 101) + "}", "[" * 4000, "label=" + "x" * 5000),
    ],
)
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(Invalid, match=r"^filters:"):
        parse_filters(text)


def test_ports_are_told_inside_first_and_once() -> None:
    ports = [
        Port(443, "", 0, "tcp"),
        Port(80, "0.0.0.0", 8080, "tcp"),
        Port(80, "::", 8080, "tcp"),
        Port(80, "127.0.0.1", 9090, "tcp"),
        Port(53, "", 53, "udp"),
    ]
    assert port_texts(ports) == ["53/udp->53/udp", "80/tcp->8080/tcp", "80/tcp->9090/tcp", "443/tcp"]
