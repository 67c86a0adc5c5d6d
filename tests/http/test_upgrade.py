"""A connection that is handed over: every byte goes to whoever has it, in order, and nothing of HTTP is left."""

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol

from appliance.http.call import Call
from appliance.http.endpoints import Routes
from appliance.http.replies import Upgrade
from appliance.identity.caller import anyone
from tests.support.site import Client, SiteTestCase, head


class Recorder(Protocol):
    """Keeps what it receives."""

    def __init__(self) -> None:
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data


class Endpoints:
    routes = Routes()

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.turn: Deferred[None] | None = None

    @routes.get("/now", who=anyone)
    async def now(self, call: Call) -> Upgrade:
        return Upgrade(self.recorder)

    @routes.get("/later", who=anyone)
    async def later(self, call: Call) -> Upgrade:
        self.turn = Deferred()
        await self.turn
        return Upgrade(self.recorder)


class UpgradeTests(SiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.endpoints = Endpoints()
        self.serve(self.endpoints)

    def handed_over(self, client: Client) -> bytes:
        """What the protocol has received."""
        protocol = getattr(client.transport, "protocol", None)
        self.assertIs(protocol, self.endpoints.recorder)
        self.assertIs(self.endpoints.recorder.transport, client.transport)
        return self.endpoints.recorder.received

    def test_the_head_comes_first_and_whole(self) -> None:
        client = self.connect()
        request = head("GET", "/now?a=b", "Sec-WebSocket-Key: k", "X-Two: 1", "X-Two: 2")
        client.send(request)
        received = self.handed_over(client)
        lines = received.split(b"\r\n")
        self.assertEqual(lines[0], b"GET /api/now?a=b HTTP/1.1")
        self.assertEqual(lines[-2:], [b"", b""])
        self.assertIn(b"Host: box", lines)
        self.assertEqual([line for line in lines if line.startswith(b"X-Two")], [b"X-Two: 1", b"X-Two: 2"])
        client.assert_no_response()

    def test_bytes_behind_the_head_follow_it(self) -> None:
        client = self.connect()
        client.send(head("GET", "/now") + b"\x81\x85 a frame\r\nand more")
        self.assertTrue(self.handed_over(client).endswith(b"\r\n\r\n\x81\x85 a frame\r\nand more"))

    def test_bytes_that_come_while_the_answer_is_found_follow_it(self) -> None:
        client = self.connect()
        client.send(head("GET", "/later") + b"one ", b"two ")
        turn = self.endpoints.turn
        assert turn is not None
        turn.callback(None)
        self.assertTrue(self.handed_over(client).endswith(b"\r\n\r\none two "))

    def test_what_was_a_request_is_over(self) -> None:
        client = self.connect()
        client.send(head("GET", "/now"))
        self.assertEqual(client.transport.producer, None)
        self.assertFalse(client.is_paused)
        self.wait(1000)  # no deadline of ours holds any more
        self.assertFalse(client.is_closed)
        (line,) = self.access_lines()
        self.assertEqual((line["status"], line["path"]), (101, "/api/now"))

    def test_who_leaves_meanwhile_hands_nothing_over(self) -> None:
        client = self.connect()
        client.send(head("GET", "/later"))
        client.leave()
        self.assertEqual(self.endpoints.recorder.received, b"")
        self.assertEqual([line["status"] for line in self.access_lines()], [499])
