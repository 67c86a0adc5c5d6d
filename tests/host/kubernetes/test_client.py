import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet._resolver import HostResolution
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.internet.interfaces import IHostnameResolver, IResolutionReceiver
from zope.interface import implementer

from appliance.host.errors import Conflict, Forbidden, Invalid, Unknown
from appliance.host.kubernetes import client as client_module
from appliance.host.kubernetes import session
from appliance.host.kubernetes.access import Access, find
from appliance.host.kubernetes.client import ClusterClient, segment
from appliance.host.kubernetes.errors import ClusterAbsent, ClusterError, Expired, Rejected
from appliance.threads import Threads
from tests.support.fake_cluster import ClusterTestCase, reactor
from tests.support.fake_engine import Connection, answer, chunked


def status(message: str) -> bytes:
    return json.dumps({"kind": "Status", "status": "Failure", "message": message}).encode()


@implementer(IHostnameResolver)
class Slow:
    """Looks up names when it is told to; all are ours."""

    def __init__(self) -> None:
        self.asked: list[IResolutionReceiver] = []
        self._port = 0

    def resolveHostName(
        self, resolutionReceiver: IResolutionReceiver, hostName: str, portNumber: int = 0, *_: Any
    ) -> HostResolution:
        self._port = portNumber
        resolutionReceiver.resolutionBegan(HostResolution(hostName))
        self.asked.append(resolutionReceiver)
        return HostResolution(hostName)

    def tell(self) -> None:
        self.asked[-1].addressResolved(IPv4Address("TCP", "127.0.0.1", self._port))
        self.asked[-1].resolutionComplete()


DEEP = b'{"x":' + b"[" * 5000


class Number(msgspec.Struct):
    n: int


class AskingTests(ClusterTestCase):
    async def test_a_request_and_its_answer(self) -> None:
        path = f"/api/v1/namespaces/{segment('a/b c')}"
        self.cluster.said["PATCH /api/v1/namespaces/a%2Fb%20c"] = answer(b'{"n":1}', 201)
        found = await self.client.call(
            "PATCH",
            path,
            [("q", "x y&z"), ("q", "2")],
            content=b"{}",
            content_type="application/apply-patch+yaml",
            accept="application/json;as=Table",
        )
        self.assertEqual((found.status, found.decode(dict[str, int])), (201, {"n": 1}))
        self.assertEqual(self.cluster.heard, ["PATCH /api/v1/namespaces/a%2Fb%20c?q=x+y%26z&q=2"])
        self.assertEqual(self.cluster.bodies, [b"{}"])
        self.assertEqual(self.cluster.shown("Content-Type"), ["application/apply-patch+yaml"])
        self.assertEqual(self.cluster.shown("Accept"), ["application/json;as=Table"])
        self.assertEqual(self.cluster.shown("Authorization"), ["Bearer a-token"])

    async def test_a_prefix_of_the_server_stands_before_every_path(self) -> None:
        self.write(cluster={"server": f"https://localhost:{self.cluster.number}/k8s/clusters/c-1/"})
        self.cluster.said["GET /k8s/clusters/c-1/x"] = answer(b"2")
        self.assertEqual(await self.get(), b"2")

    async def test_names_that_would_make_another_path_of_it(self) -> None:
        for name in ("", ".", ".."):
            self.assertRaises(Invalid, segment, name)
        self.assertEqual(segment("a?b#c/d"), "a%3Fb%23c%2Fd")

    async def test_refusals_are_told_by_what_they_mean(self) -> None:
        kinds: dict[int, type[Exception]] = {
            400: Rejected,
            401: ClusterError,
            403: Forbidden,
            404: Unknown,
            405: Rejected,
            409: Conflict,
            410: Expired,
            415: Rejected,
            422: Rejected,
            500: ClusterError,
            503: ClusterError,
            504: ClusterError,
        }
        for code, kind in kinds.items():
            self.cluster.said["POST /x"] = answer(status("Because\nof this."), code)
            error = await self.failure(self.client.call("POST", "/x", content=b"{}"))
            self.assertIs(type(error), kind, code)
            self.assertIn("credentials (context here)" if code == 401 else "Because of this.", str(error))

    async def test_refusals_that_are_no_status(self) -> None:
        self.cluster.said["GET /x"] = answer(b"404 page\x1b not found\n", 404)
        self.assertEqual(str(await self.failure(self.get())), "404 page not found")
        self.cluster.said["GET /x"] = answer(b'{"x":' + b"[" * 5000, 404)
        self.assertTrue(str(await self.failure(self.get())).startswith('{"x":[[['))
        self.cluster.said["GET /x"] = answer(b"", 502)
        self.assertEqual(str(await self.failure(self.get())), "Kubernetes: status 502")
        self.cluster.said["GET /x"] = answer(b"x" * 2_000_000, 500)
        self.assertIn("more than 1024 KiB", str(await self.failure(self.get())))

    async def test_what_leads_elsewhere_is_not_followed(self) -> None:
        self.cluster.said["GET /x"] = answer(b"", 301, "Location: https://elsewhere/")
        self.assertIn("sends us elsewhere", str(await self.failure(self.get())))
        self.assertEqual(len(self.cluster.heard), 1)

    async def test_what_cannot_be_understood(self) -> None:
        for body in (b"<html>", b'{"n":"text"}', b"", b"\xff", DEEP):
            self.cluster.said["GET /x"] = answer(body)
            found = await self.client.call("GET", "/x")
            self.assertRaises(ClusterError, found.decode, Number)

    async def test_what_is_compressed_without_being_asked_for_is_not_taken_apart(self) -> None:
        self.cluster.said["GET /x"] = answer(b"\x1f\x8b...", 200, "Content-Encoding: gzip")
        self.assertEqual(await self.get(), b"\x1f\x8b...")
        self.assertEqual(self.cluster.shown("Accept-Encoding"), [])

    async def test_a_large_answer(self) -> None:
        body = bytes(range(256)) * (12 << 12)
        self.cluster.said["GET /x"] = chunked(*[body[place : place + 4096] for place in range(0, len(body), 4096)])
        self.assertEqual(await self.get(), body)

    async def test_too_much(self) -> None:
        self.cluster.said["GET /x"] = answer(b"x" * 10_000_000)
        error = await self.failure(self.get(limit=65536))
        self.assertEqual((type(error), str(error)), (ClusterError, "Kubernetes answered with more than 64 KiB"))
        await self.until(lambda: self.cluster.connections[-1].closed)

    async def test_headers_without_end(self) -> None:
        piece = b"X: " + b"x" * 8000 + b"\r\n"
        for begin, again in ((b"HTTP/1.1 200 OK\r\n", piece), (b"", b"HTTP/1.1 103 Early\r\n" + piece + b"\r\n")):
            self.cluster.said["GET /x"] = begin + again * 100
            self.assertIn("broke", str(await self.failure(self.get())))
            await self.until(lambda: self.cluster.connections[-1].closed)
        many = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n" + piece * 6 + b"\r\n1"
        self.cluster.said["GET /x"] = many
        for _ in range(3):
            self.assertEqual(await self.get(), b"1")

    async def test_an_answer_that_breaks_off(self) -> None:
        def in_the_body(connection: Connection) -> None:
            connection.write(chunked(b"abc", whole=False))
            connection.close()

        def in_the_head(connection: Connection) -> None:
            connection.write(b"HTTP/1.1 200 OK\r\nContent-")
            connection.close()

        def at_once(connection: Connection) -> None:
            connection.close()

        def abruptly(connection: Connection) -> None:
            connection.transport.abortConnection()

        def with_garbage(connection: Connection) -> None:
            connection.write(b"what?\r\n\r\n")

        for said in (in_the_body, in_the_head, at_once, abruptly, with_garbage):
            self.cluster.said["GET /x"] = said
            error = await self.failure(self.get())
            self.assertIs(type(error), ClusterError)
            self.assertIn("The connection to Kubernetes broke", str(error))

    async def test_a_server_that_hangs(self) -> None:
        self.cluster.said["GET /head"] = lambda connection: None
        self.cluster.said["GET /body"] = lambda connection: connection.write(chunked(b"a", whole=False))
        await self.get()
        for path in ("/head", "/body"):
            error = await self.failure(self.get(path, seconds=0.05))
            self.assertIs(type(error), ClusterError)
            self.assertIn("did not answer within", str(error))
            await self.until(lambda: self.cluster.connections[-1].closed)

    async def test_who_gives_up_ends_the_connection(self) -> None:
        self.cluster.said["GET /head"] = lambda connection: None
        for path in ("/head", "/head"):
            asking = Deferred.fromCoroutine(self.get(path))
            await self.until(lambda: self.cluster.heard[-1:] == ["GET /head"])
            asking.cancel()
            self.assertIsInstance(await self.failure(asking), CancelledError)
            await self.until(lambda: self.cluster.connections[-1].closed)
            self.cluster.heard.clear()

    async def test_who_gives_up_at_once(self) -> None:
        await self.get()
        for work in (self.client.call("GET", "/x"), self.client.open("GET", "/x")):
            asking: Deferred[Any] = Deferred.fromCoroutine(work)
            asking.cancel()
            self.assertIsInstance(await self.failure(asking), CancelledError)


class StreamTests(ClusterTestCase):
    async def test_a_stream_and_its_end(self) -> None:
        self.cluster.said["GET /log"] = lambda connection: connection.write(chunked(b"a", whole=False))
        body = await self.client.open("GET", "/log", {"follow": "true"})
        self.assertEqual(await body.read(), b"a")
        self.cluster.connections[-1].write(b"1\r\nb\r\n0\r\n\r\n")
        self.assertEqual([await body.read(), await body.read()], [b"b", b""])
        body.close()

    async def test_who_does_not_read_holds_the_server_back(self) -> None:
        self.cluster.said["GET /log"] = lambda connection: connection.write(chunked(whole=False))
        body = await self.client.open("GET", "/log")
        (connection,) = self.cluster.connections
        for _ in range(100):
            connection.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await self.until(lambda: body._paused)
        self.assertLess(body._size, 1 << 18)
        size = 0
        while size < 100 * 0x10000:
            size += len(await body.read())
        body.close()
        await self.until(lambda: connection.closed)

    async def test_it_is_refused_as_a_call_is(self) -> None:
        self.assertIsInstance(await self.failure(self.client.open("GET", "/nothing")), Unknown)


class ConnectionTests(ClusterTestCase):
    async def test_a_connection_is_used_again(self) -> None:
        for _ in range(5):
            await self.get()
        self.assertEqual(len(self.cluster.connections), 1)

    async def test_one_that_the_server_has_closed_is_replaced(self) -> None:
        await self.get()
        self.cluster.connections[0].close()
        await self.get()
        await self.cluster.stop()
        self.assertIsInstance(await self.failure(self.get()), ClusterAbsent)
        self.cluster.listen()
        await self.get()

    async def test_no_more_calls_at_once_than_the_bound_and_no_more_connections_kept(self) -> None:
        held: list[Connection] = []
        self.cluster.said["GET /x"] = held.append
        calls = [Deferred.fromCoroutine(self.get()) for _ in range(client_module.CALLS_AT_ONCE + 5)]
        await self.until(lambda: len(held) == client_module.CALLS_AT_ONCE)
        await self.get_other()
        self.assertEqual(len(held), client_module.CALLS_AT_ONCE)
        self.cluster.said["GET /x"] = answer(b"1")
        for connection in held:
            connection.write(answer(b"1"))
        self.assertEqual(await gatherResults(calls), [b"1"] * len(calls))
        await self.until(lambda: sum(not each.closed for each in self.cluster.connections) == session.KEPT_CONNECTIONS)

    async def get_other(self) -> None:
        """A stream is no call that is counted."""
        self.cluster.said["GET /log"] = answer(b"2")
        body = await self.client.open("GET", "/log")
        self.assertEqual(await body.read(), b"2")
        body.close()

    async def test_an_idle_connection_is_let_go(self) -> None:
        self.patch(session, "IDLE_SECONDS", 0.05)
        await self.get()
        await self.until(lambda: self.cluster.connections[0].closed)
        await self.get()

    async def test_forgetting_lets_them_go(self) -> None:
        await self.get()
        self.client.forget()
        await self.until(lambda: self.cluster.connections[0].closed)
        await self.get()


class BusyTests(ClusterTestCase):
    def busy(self, times: int, *headers: str) -> None:
        """Too busy so many times, then well."""
        left = [answer(status("too many requests"), 429, *headers)] * times
        self.cluster.said["GET /x"] = lambda connection: connection.write(left.pop() if left else answer(b"1"))
        self.cluster.said["POST /x"] = self.cluster.said["GET /x"]

    async def test_a_short_wait_is_waited(self) -> None:
        self.busy(1, "Retry-After: 1")
        self.assertEqual(await self.get(), b"1")
        self.assertEqual(len(self.cluster.heard), 2)

    async def test_one_that_is_no_number(self) -> None:
        self.cluster.said["GET /x"] = answer(b"1").replace(b"\r\n\r\n", b"\r\nRetry-After: \xff\xfe\r\n\r\n")
        self.assertEqual(await self.get(), b"1")

    async def test_a_long_one_is_told(self) -> None:
        self.busy(1, "Retry-After: 60")
        error = await self.failure(self.get())
        self.assertEqual(str(error), "Kubernetes is too busy: it asks for another try in 60 seconds")

    async def test_what_changes_something_is_not_sent_twice(self) -> None:
        self.busy(1, "Retry-After: 1")
        error = await self.failure(self.client.call("POST", "/x", content=b"{}"))
        self.assertEqual((type(error), str(error)), (ClusterError, "Kubernetes: too many requests"))
        self.assertEqual(len(self.cluster.heard), 1)

    async def test_it_is_given_up(self) -> None:
        self.patch(client_module, "sleep", lambda *_: succeed(None))
        self.busy(9)
        self.assertIsInstance(await self.failure(self.get()), ClusterError)
        self.assertEqual(len(self.cluster.heard), 3)


class LookingTests(ClusterTestCase):
    async def test_no_kubeconfig_and_then_one(self) -> None:
        content = self.file.read_bytes()
        for _ in range(2):
            self.file.unlink()
            error = await self.failure(self.get())
            self.assertIs(type(error), ClusterAbsent)
            self.assertIn(str(self.file), str(error))
            self.assertIs(type(await self.failure(self.client.target())), ClusterAbsent)
            self.put("config", content)
            self.assertEqual(await self.get(), b"1")

    async def test_nothing_answers(self) -> None:
        await self.cluster.stop()
        error = await self.failure(self.get())
        self.assertEqual(str(error), f"No cluster answers at 127.0.0.1:{self.cluster.number}")
        self.assertIs(type(error), ClusterAbsent)

    async def test_a_name_that_nobody_has(self) -> None:
        # What cannot be looked up at all, as a name with an underscore, is one as well, and so is a zone that is none.
        for host in ("nobody.invalid", "no_body", "x" * 63 + ".a--b--c", "no--body", "[fe80::1%25lo]"):
            self.write(cluster={"server": f"https://{host}:6443"})
            error = await self.failure(self.get())
            self.assertIs(type(error), ClusterAbsent)
            self.assertEqual(str(error), f"There is no host by the name in {host}:6443")

    async def test_a_name_is_looked_up_once_for_all_who_ask(self) -> None:
        """Or a name server that does not answer would take all threads there are."""
        names = Slow()
        before = reactor.installNameResolver(names)
        self.addCleanup(reactor.installNameResolver, before)
        self.write(cluster={"server": f"https://api:{self.cluster.number}"})
        given_up = Deferred.fromCoroutine(self.get())
        calls = [Deferred.fromCoroutine(self.get()) for _ in range(5)]
        await self.until(lambda: names.asked)
        given_up.cancel()
        self.assertIsInstance(await self.failure(given_up), CancelledError)
        names.tell()
        self.assertEqual(await gatherResults(calls), [b"1"] * 5)
        self.assertEqual(len(names.asked), 1)
        self.client.forget()
        asking = Deferred.fromCoroutine(self.get())
        await self.until(lambda: len(names.asked) == 2)
        names.tell()
        await asking

    async def test_a_change_counts_at_once(self) -> None:
        await self.get()
        self.write(user={"token": "another"}, context={"namespace": "there"})
        self.assertEqual(await self.client.default_namespace(), "there")
        await self.get()
        self.assertEqual(self.cluster.shown("Authorization"), ["Bearer another"])
        await self.until(lambda: self.cluster.connections[0].closed)

    async def test_a_broken_one_is_told_until_it_is_mended(self) -> None:
        self.put("config", b"clusters: [")
        for _ in range(2):
            self.assertIs(type(await self.failure(self.get())), ClusterError)
        self.write()
        self.assertEqual(await self.get(), b"1")

    async def test_an_earlier_place_counts_as_soon_as_something_is_there(self) -> None:
        first = self.folder / "first"
        client = ClusterClient(reactor, Threads(reactor), self.runner, [first, self.file])
        self.addCleanup(client.forget)
        self.assertEqual(await client.default_namespace(), "default")
        self.put("first", json.dumps(self.cluster.config(context={"namespace": "early"})).encode())
        self.assertEqual(await client.default_namespace(), "early")

    async def test_many_at_once_read_it_once(self) -> None:
        reads: list[object] = []

        def counted(places: Sequence[Path]) -> Access:
            reads.append(places)
            return find(places)

        self.patch(client_module, "find", counted)
        calls = [Deferred.fromCoroutine(self.get()) for _ in range(10)]
        self.assertEqual(await gatherResults(calls), [b"1"] * 10)
        self.assertEqual(len(reads), 1)

    async def test_the_target_shows_no_secret(self) -> None:
        target = await self.client.target()
        self.assertEqual((target.host, target.port, target.prefix), ("127.0.0.1", self.cluster.number, ""))
        self.assertEqual(target.headers, (("Authorization", "Bearer a-token"),))
        self.assertNotIn("a-token", repr(target))


def test_nothing_heavy_is_loaded_before_it_is_asked() -> None:
    program = (
        "import sys, appliance.server, appliance.host.kubernetes.client;"
        "print([m for m in ('treq', 'twisted.web.client', 'yaml') if m in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert finished.stdout == "[]\n"
