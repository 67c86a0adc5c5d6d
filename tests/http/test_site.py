from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers

from appliance.http.call import Call
from appliance.http.endpoints import Routes
from appliance.http.errors import HttpError
from appliance.http.headers import SECURITY_HEADERS
from appliance.http.surface import Surface, Surfaces
from appliance.identity.caller import administrator
from tests.support.site import Client, SiteTestCase, head, post
from tests.support.wire import REQUIRED_HEADERS, take_response


class Work:
    routes = Routes(tag="Work")

    def __init__(self) -> None:
        self.gate: Deferred[object] = Deferred()
        self.ended: list[str] = []

    @routes.get("/read", who=administrator)
    async def read(self, call: Call) -> str:
        await self._wait("read")
        return "read"

    @routes.post("/change", who=administrator, audit="change")
    async def change(self, call: Call) -> str:
        await self._wait("change")
        return "changed"

    @routes.get("/now", who=administrator)
    async def now(self, call: Call) -> str:
        return "now"

    async def _wait(self, what: str) -> None:
        try:
            await self.gate
        except BaseException as error:
            self.ended.append(f"{what} {type(error).__name__}")
            raise
        self.ended.append(what)


class SiteTests(SiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.work = Work()
        self.serve(self.work)

    def drain(self, seconds: float) -> "Deferred[None]":
        return Deferred.fromCoroutine(self.site.drain(seconds))

    def cut(self, *clients: Client) -> None:
        """What the transport does after it was aborted."""
        for client in clients:
            self.assertTrue(client.transport.aborted)
            client.leave()

    def test_an_idle_server_drains_at_once(self) -> None:
        self.successResultOf(self.drain(15))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_requests_in_flight_end_first(self) -> None:
        idle, busy = self.connect(), self.connect()
        idle.send(head("GET", "/now"))
        busy.send(head("GET", "/read"))
        draining = self.drain(15)
        self.assertTrue(idle.is_closed)
        idle.leave()
        self.assertNoResult(draining)
        self.work.gate.callback(None)
        self.assertTrue(busy.response().closes)
        busy.leave()
        self.successResultOf(draining)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_takes_too_long_is_cut(self) -> None:
        client = self.connect()
        client.send(head("GET", "/read"))
        draining = self.drain(15)
        self.wait(14)
        self.assertFalse(client.transport.aborted)
        self.wait(1)
        self.cut(client)
        self.wait(1)
        self.successResultOf(draining)
        self.assertEqual(self.work.ended, ["read CancelledError"])

    def test_a_client_that_does_not_close_is_cut_after_two_seconds(self) -> None:
        client = self.connect()
        client.send(head("GET", "/now"))
        draining = self.drain(15)
        self.wait(4)
        self.cut(client)
        self.successResultOf(draining)

    def test_a_change_whose_client_is_gone_gets_its_time(self) -> None:
        client = self.connect()
        client.send(head("POST", "/change", "Content-Length: 0"))
        client.leave()
        draining = self.drain(15)
        self.assertNoResult(draining)
        self.wait(5)
        self.work.gate.callback(None)
        self.successResultOf(draining)
        self.assertEqual((self.work.ended, self.notebook.entries), (["change"], [("change", "success")]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_but_not_for_ever(self) -> None:
        client = self.connect()
        client.send(head("POST", "/change", "Content-Length: 0"))
        client.leave()
        draining = self.drain(15)
        self.wait(16)
        self.successResultOf(draining)
        self.assertEqual((self.work.ended, self.notebook.entries), (["change CancelledError"], [("change", "failed")]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_admission_under_way(self) -> None:
        self.doorkeeper.verdict = Deferred()
        client = self.connect()
        client.send(post("/change", b"x" * 10)[:-5])
        draining = self.drain(1)
        self.wait(2)
        self.cut(client)
        self.wait(3)
        self.successResultOf(draining)
        self.assertEqual(self.work.ended, [])

    def test_who_comes_while_it_drains_is_told_to_close(self) -> None:
        busy = self.connect()
        busy.send(head("GET", "/read"))
        draining = self.drain(15)
        late = self.connect()
        late.send(head("GET", "/now"))
        self.assertTrue(late.response().closes)
        late.leave()
        self.work.gate.callback(None)
        busy.leave()
        self.successResultOf(draining)

    def test_the_date_is_renewed(self) -> None:
        client = self.connect()
        client.send(head("GET", "/now"))
        before = client.response().headers["date"]
        self.wait(3)
        client.send(head("GET", "/now"))
        self.assertNotEqual(client.response().headers["date"], before)

    def test_ids(self) -> None:
        first, second = self.site.next_id(), self.site.next_id()
        self.assertNotEqual(first, second)
        self.assertEqual(first.partition("-")[0], second.partition("-")[0])

    def test_a_bare_response(self) -> None:
        error = HttpError(400, "no\r\nInjected: yes", headers={"Retry-After": "1\r\nX: y"})
        response, rest = take_response(self.site.bare_response(error))
        self.assertEqual((response.status, rest, response.closes), (400, b"", True))
        self.assertEqual(response.headers["retry-after"], "1  X: y")
        self.assertEqual({name: response.headers[name] for name in REQUIRED_HEADERS}, REQUIRED_HEADERS)
        self.assertIn("content-security-policy", response.headers)

    def test_http_1_1_alone_is_offered(self) -> None:
        self.assertEqual(self.site.acceptableProtocols(), [b"http/1.1"])
        self.assertTrue(self.site.static_headers.startswith(SECURITY_HEADERS))

    def test_starting_twice_sweeps_once(self) -> None:
        self.site.startFactory()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)


class SurfacesTests(SiteTestCase):
    def surface(self, prefix: str) -> Surface:
        nothing: Any = None
        return Surface(prefix, prefix, nothing, nothing, nothing, nothing)

    def test_the_longest_prefix_owns_a_path(self) -> None:
        surfaces = Surfaces([self.surface(prefix) for prefix in ("", "/api", "/api/v1", "/api/v1/admin")])
        for path, owner in [
            ("/", ""),
            ("", ""),
            ("/apix", ""),
            ("/x/api/v1", ""),
            ("//api", ""),
            ("/api", "/api"),
            ("/api/", "/api"),
            ("/api/v1x", "/api"),
            ("/api/v1", "/api/v1"),
            ("/api/v1/adminx", "/api/v1"),
            ("/api/v1/admin", "/api/v1/admin"),
            ("/api/v1/admin/x/y", "/api/v1/admin"),
        ]:
            self.assertEqual(surfaces.owner(path).name, owner, path)

    def test_without_a_web_root_the_shortest_answers(self) -> None:
        surfaces = Surfaces([self.surface(prefix) for prefix in ("/api/v1/admin", "/api")])
        self.assertEqual(surfaces.owner("/x").name, "/api")


class CallTests(SiteTestCase):
    def test_arguments_and_headers(self) -> None:
        call = Call("1", "GET", b"/x", "/x", b"a=1&a=2&b", Headers({b"X-Name": [b"one", b"tw\xf6"]}))
        self.assertEqual((call.argument("a"), call.argument("b"), call.argument("c")), ("2", "", None))
        self.assertEqual((call.header("x-name"), call.header("other")), ("twö", None))
        self.assertIs(call.arguments, call.arguments)
