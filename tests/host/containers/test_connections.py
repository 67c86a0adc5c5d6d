"""What only reads goes over kept connections; nothing that changes something is ever sent twice."""

import socket

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater

from appliance.host.containers.docker import connections
from appliance.host.containers.errors import EngineAbsent, EngineError
from appliance.host.errors import Unknown
from tests.support.fake_engine import Connection, EngineTestCase, answer, chunked, reactor


class ConnectionTests(EngineTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.engine.said["GET /x"] = answer(b"1")
        self.engine.said["POST /x"] = answer(b"2")

    async def get(self) -> None:
        self.assertEqual((await self.client.call("GET", "/x")).body, b"1")

    def open(self) -> list[Connection]:
        return [each for each in self.engine.connections if not each.closed]

    async def test_reads_share_one(self) -> None:
        self.engine.said["GET /chunks"] = chunked(b"a", b"b")
        for _ in range(3):
            await self.get()
            self.assertEqual((await self.client.call("GET", "/chunks")).body, b"ab")
            self.assertIsInstance(await self.failure(self.client.call("GET", "/unknown")), Unknown)
        self.assertEqual(len(self.engine.connections), 1)

    async def test_changes_and_streams_have_their_own(self) -> None:
        await self.get()
        for _ in range(2):
            await self.client.call("POST", "/x", json={"a": 1})
            body = await self.client.open("GET", "/x")
            self.assertEqual(await body.read(), b"1")
            body.close()
        self.assertEqual(len(self.engine.connections), 5)
        await self.until(lambda: len(self.open()) == 1)
        self.assertIn(b"\r\nConnection: close", self.engine.heads[-1])
        self.assertNotIn(b"Connection: close", self.engine.heads[0])

    async def test_as_many_as_are_needed_are_opened_and_few_are_kept(self) -> None:
        waiting: list[Connection] = []
        self.engine.said["GET /wait"] = waiting.append
        asking = [Deferred.fromCoroutine(self.client.call("GET", "/wait")) for _ in range(5)]
        await self.until(lambda: len(waiting) == 5)
        for connection in waiting:
            connection.write(answer(b"1"))
        await gatherResults(asking)
        await self.until(lambda: len(self.open()) == connections.KEPT)

    async def test_one_without_anything_to_do_is_closed_in_the_end(self) -> None:
        self.patch(connections, "KEPT_SECONDS", 0.05)
        await self.get()
        await self.until(lambda: not self.open())
        await self.get()

    async def test_one_that_the_engine_has_closed_is_not_used(self) -> None:
        await self.get()
        self.engine.connections[0].close()
        await self.until(lambda: not self.open())
        await self.get()
        self.assertEqual(len(self.engine.connections), 2)

    async def test_one_that_closes_as_it_is_used_costs_a_second_try(self) -> None:
        await self.get()

        def close_once(connection: Connection) -> None:
            self.engine.said["GET /x"] = answer(b"1")
            connection.close()

        self.engine.said["GET /x"] = close_once
        heard = len(self.engine.heard)
        await self.get()
        self.assertEqual(self.engine.heard[heard:], ["GET /v1.41/x"] * 2)
        self.assertEqual(len(self.engine.connections), 2)

    async def test_there_is_no_third_try(self) -> None:
        await self.get()
        self.engine.said["GET /x"] = lambda connection: connection.close()
        heard = len(self.engine.heard)
        self.assertIs(type(await self.failure(self.client.call("GET", "/x"))), EngineError)
        self.assertEqual(len(self.engine.heard), heard + 2)

    async def test_what_has_begun_to_come_is_not_asked_for_again(self) -> None:
        await self.get()

        def break_off(connection: Connection) -> None:
            connection.write(chunked(b"a", whole=False))
            connection.close()

        self.engine.said["GET /x"] = break_off
        heard = len(self.engine.heard)
        self.assertIs(type(await self.failure(self.client.call("GET", "/x"))), EngineError)
        self.assertEqual(len(self.engine.heard), heard + 1)

    async def test_a_change_is_heard_once_whatever_becomes_of_its_connection(self) -> None:
        await self.get()
        for method in ("POST", "DELETE"):
            self.engine.said[f"{method} /x"] = lambda connection: connection.close()
            error = await self.failure(self.client.call(method, "/x"))
            self.assertIs(type(error), EngineError)
            self.assertIn("may have been done", str(error))
            self.assertEqual(self.engine.heard.count(f"{method} /v1.41/x"), 1)

    async def test_an_engine_that_is_started_again_between_two_requests(self) -> None:
        for method in ("GET", "POST", "GET"):
            await self.client.call(method, "/x")
            await self.engine.stop()
            self.engine.listen()
        self.assertEqual(self.engine.heard.count("POST /v1.41/x"), 1)

    async def test_an_engine_that_has_gone_is_absent(self) -> None:
        await self.get()
        await self.engine.stop(leave_socket=True)
        self.assertIsInstance(await self.failure(self.client.call("GET", "/x")), EngineAbsent)

    async def test_another_socket_at_the_same_place_is_another_engine(self) -> None:
        """Though the one that listened there before still answers over the connection to it."""
        await self.get()
        self.engine.path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(self.engine.path))  # and does not listen
        self.assertIsInstance(await self.failure(self.client.call("GET", "/x")), EngineAbsent)
        await self.until(lambda: not self.open())

    async def test_who_gives_up_leaves_no_half_read_one_to_others(self) -> None:
        await self.get()
        waiting: list[Connection] = []
        self.engine.said["GET /wait"] = waiting.append
        asking = Deferred.fromCoroutine(self.client.call("GET", "/wait"))
        await self.until(lambda: waiting)
        asking.cancel()
        self.assertIsInstance(await self.failure(asking), CancelledError)
        await self.until(lambda: not self.open())
        await self.get()
        self.assertEqual(len(self.engine.heard), 4)

    async def test_what_an_engine_says_unasked_ends_it(self) -> None:
        await self.get()
        self.engine.connections[0].write(answer(b"not asked for"))
        await self.until(lambda: not self.open())
        await deferLater(reactor, 0, lambda: None)
        await self.get()
