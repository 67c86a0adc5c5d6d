import json
import subprocess
import sys
from pathlib import Path

import msgspec
from twisted.internet.defer import CancelledError, Deferred

from appliance.host.containers.docker.client import ANSWER_LIMIT, Engine, segment
from appliance.host.containers.errors import EngineAbsent, EngineError
from appliance.host.errors import Conflict, Invalid, Unknown
from tests.support.fake_engine import Connection, EngineTestCase, answer, chunked


def version(newest: str, oldest: str, name: str = "Engine") -> bytes:
    said = {"ApiVersion": newest, "MinAPIVersion": oldest, "Components": [{"Name": name}]}
    return answer(json.dumps(said).encode())


DEEP = b'{"x":' + b"[" * 5000


class Number(msgspec.Struct):
    n: int


class AskingTests(EngineTestCase):
    async def test_a_request_and_its_answer(self) -> None:
        self.engine.said["POST /things/a"] = answer(b'{"n":1}', 201)
        body = {"Some": "thing"}
        found = await self.client.call(
            "POST", f"/things/{segment('a')}", {"q": "x y&z"}, json=body, headers={"X-A": "b"}
        )
        self.assertEqual((found.status, found.decode(dict[str, int])), (201, {"n": 1}))
        self.assertEqual(self.engine.heard, ["GET /version", "POST /v1.41/things/a?q=x+y%26z"])
        self.assertEqual(msgspec.json.decode(self.engine.bodies[1]), body)
        self.assertIn(b"\r\nContent-Type: application/json", self.engine.heads[1])
        self.assertIn(b"\r\nX-A: b", self.engine.heads[1])

    async def test_an_answer_in_chunks_and_one_that_ends_with_its_connection(self) -> None:
        self.engine.said["GET /chunks"] = chunked(b"a", b"bc")

        def to_the_end(connection: Connection) -> None:
            connection.write(b"HTTP/1.1 200 OK\r\n\r\nab")
            connection.write(b"c")
            connection.close()

        self.engine.said["GET /end"] = to_the_end
        for path in ("/chunks", "/end"):
            self.assertEqual((await self.client.call("GET", path)).body, b"abc")

    async def test_no_answer_follows_a_redirect(self) -> None:
        self.engine.said["GET /here"] = answer(b"", 301, "Location: http://elsewhere/")
        self.assertEqual((await self.client.call("GET", "/here")).status, 301)
        self.assertEqual(len(self.engine.heard), 2)

    async def test_refusals_are_told_by_what_they_mean(self) -> None:
        for status, kind in ((400, Invalid), (403, Conflict), (404, Unknown), (409, Conflict), (500, EngineError)):
            self.engine.said["GET /x"] = answer(b'{"message":"Because."}', status)
            error = await self.failure(self.client.call("GET", "/x"))
            self.assertIs(type(error), kind)
            self.assertIn("Because.", str(error))

    async def test_what_cannot_be_understood(self) -> None:
        for body in (b"<html>", b'{"n":"text"}', b"", b"\xff", DEEP):
            self.engine.said["GET /x"] = answer(body)
            found = await self.client.call("GET", "/x")
            self.assertRaises(EngineError, found.decode, Number)

    async def test_too_much(self) -> None:
        def flood(connection: Connection) -> None:
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
            connection.write(b"x" * (ANSWER_LIMIT + 1))

        self.engine.said["GET /x"] = flood
        error = await self.failure(self.client.call("GET", "/x"))
        self.assertIsInstance(error, EngineError)
        self.assertIn("more than", str(error))
        await self.until(lambda: self.engine.connections[-1].closed)

    async def test_an_answer_that_breaks_off(self) -> None:
        def in_the_body(connection: Connection) -> None:
            connection.write(chunked(b"abc", whole=False))
            connection.close()

        def in_the_head(connection: Connection) -> None:
            connection.write(b"HTTP/1.1 200 OK\r\nContent-")
            connection.close()

        def at_once(connection: Connection) -> None:
            connection.close()

        def with_garbage(connection: Connection) -> None:
            connection.write(b"what?\r\n\r\n")

        for said in (in_the_body, in_the_head, at_once, with_garbage):
            self.engine.said["GET /x"] = said
            self.assertIs(type(await self.failure(self.client.call("GET", "/x"))), EngineError)

    async def test_an_engine_that_hangs(self) -> None:
        self.engine.said["GET /head"] = lambda connection: None
        self.engine.said["GET /body"] = lambda connection: connection.write(chunked(b"a", whole=False))
        for path in ("/head", "/body"):
            error = await self.failure(self.client.call("GET", path, seconds=0.05))
            self.assertIs(type(error), EngineError)
            self.assertIn("did not answer within", str(error))
            await self.until(lambda: self.engine.connections[-1].closed)

    async def test_who_gives_up_ends_the_connection(self) -> None:
        self.engine.said["GET /head"] = lambda connection: None
        self.engine.said["GET /body"] = lambda connection: connection.write(chunked(b"a", whole=False))
        for path in ("/head", "/body"):
            asking = Deferred.fromCoroutine(self.client.call("GET", path))
            await self.heard(f"GET /v1.41{path}")
            asking.cancel()
            self.assertIsInstance(await self.failure(asking), CancelledError)
            await self.until(lambda: self.engine.connections[-1].closed)

    async def test_who_gives_up_while_the_connection_is_made(self) -> None:
        for ask in (self.client.call("GET", "/x"), self.client.open("GET", "/x"), self.client.hijack("/x", {})):
            asking: Deferred[object] = Deferred.fromCoroutine(ask)
            asking.cancel()
            self.assertIsInstance(await self.failure(asking), CancelledError)
        await self.client.engine()
        hijacking = Deferred.fromCoroutine(self.client.hijack("/x", {}))
        hijacking.cancel()
        self.assertIsInstance(await self.failure(hijacking), CancelledError)
        await self.until(lambda: all(connection.closed for connection in self.engine.connections[1:]))


class LookingTests(EngineTestCase):
    async def test_nothing_there(self) -> None:
        await self.engine.stop()
        for _ in range(2):
            error = await self.failure(self.client.call("GET", "/x"))
            self.assertIsInstance(error, EngineAbsent)
            self.assertIn(str(self.engine.path), str(error))
            await self.failure(self.client.engine())
            self.engine.path.write_text("not a socket")
        self.engine.path.unlink()

    async def test_a_socket_that_nobody_listens_at(self) -> None:
        await self.engine.stop(leave_socket=True)
        self.assertIsInstance(await self.failure(self.client.call("GET", "/x")), EngineAbsent)

    async def test_it_comes_and_goes(self) -> None:
        self.engine.said["GET /x"] = answer(b"1")
        for _ in range(3):
            self.assertEqual((await self.client.call("GET", "/x")).body, b"1")
            await self.engine.stop()
            self.assertIsInstance(await self.failure(self.client.call("GET", "/x")), EngineAbsent)
            self.engine.listen()

    async def test_the_first_place_where_one_listens(self) -> None:
        self.engine.said["GET /x"] = answer(b"1")
        client = self.new_client(Path("/nonexistent/docker.sock"))
        self.assertEqual((await client.call("GET", "/x")).body, b"1")
        self.assertEqual((await client.engine()).name, "docker")


class VersionTests(EngineTestCase):
    async def test_the_newest_that_both_speak(self) -> None:
        for newest, oldest, spoken in (
            ("1.41", "1.12", "1.41"),
            ("1.45", "1.24", "1.45"),
            ("1.52", "1.44", "1.45"),
            ("1.60", "1.50", "1.50"),
            ("1.40", "", "1.40"),
        ):
            self.engine.said["GET /version"] = version(newest, oldest)
            client = self.new_client()
            self.assertEqual(await client.engine(), Engine("docker", spoken))

    async def test_podman_is_told_apart(self) -> None:
        self.engine.said["GET /version"] = version("1.41", "1.24", "Podman Engine")
        self.assertEqual(await self.client.engine(), Engine("podman", "1.41"))

    async def test_what_is_too_old_or_no_version(self) -> None:
        for newest in ("1.39", "one", "", "1.4.1", "1.٤١"):
            self.engine.said["GET /version"] = version(newest, "")
            self.assertIs(type(await self.failure(self.client.engine())), EngineError)

    async def test_it_is_asked_once_for_each_socket(self) -> None:
        self.engine.said["GET /x"] = answer(b"1")
        for _ in range(3):
            await self.client.call("GET", "/x")
        self.assertEqual(self.engine.heard.count("GET /version"), 1)
        await self.engine.stop()
        self.engine.said["GET /version"] = version("1.43", "1.12")
        self.engine.listen()
        await self.client.call("GET", "/x")
        self.assertEqual(self.engine.heard[-2:], ["GET /version", "GET /v1.43/x"])


class BodyTests(EngineTestCase):
    async def test_a_reader_who_does_not_read_holds_the_engine_back(self) -> None:
        self.engine.said["GET /x"] = lambda connection: connection.write(chunked(whole=False))
        body = await self.client.open("GET", "/x")
        (connection,) = self.engine.connections[1:]
        for _ in range(100):
            connection.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await self.until(lambda: body._paused)
        self.assertLess(body._size, 1 << 18)
        size = 0
        while size < 100 * 0x10000:
            size += len(await body.read())
        connection.write(b"0\r\n\r\n")
        self.assertEqual(await body.read(), b"")
        self.assertEqual(await body.read(), b"")
        body.close()

    async def test_what_comes_in_small_pieces_is_read_together(self) -> None:
        self.engine.said["GET /x"] = chunked(*[b"line\n"] * 500)
        body = await self.client.open("GET", "/x")
        reads = []
        while piece := await body.read():
            reads.append(piece)
        self.assertEqual(b"".join(reads), b"line\n" * 500)
        self.assertLess(len(reads), 10)
        body.close()

    async def test_closing_in_the_middle(self) -> None:
        self.engine.said["GET /x"] = lambda connection: connection.write(chunked(b"abc", whole=False))
        body = await self.client.open("GET", "/x")
        reading = Deferred.fromCoroutine(body.read())
        self.assertEqual(await reading, b"abc")
        waiting = Deferred.fromCoroutine(body.read())
        waiting.cancel()
        self.assertIsInstance(await self.failure(waiting), CancelledError)
        body.close()
        body.close()
        await self.until(lambda: self.engine.connections[-1].closed)

    async def test_what_breaks_off_is_no_end(self) -> None:
        self.engine.said["GET /x"] = lambda connection: connection.write(chunked(b"abc", whole=False))
        body = await self.client.open("GET", "/x")
        self.assertEqual(await body.read(), b"abc")
        self.engine.connections[-1].close()
        self.assertIsInstance(await self.failure(body.read()), EngineError)
        body.close()


def test_nothing_of_it_is_loaded_before_it_is_asked() -> None:
    program = "import sys, appliance.server; print([m for m in ('treq', 'twisted.web.client') if m in sys.modules])"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert finished.stdout == "[]\n"
