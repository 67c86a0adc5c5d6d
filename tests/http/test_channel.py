"""Deadlines, refusals of what never became a request, pipelines and draining, on string transports and a clock."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol

from appliance.http.answering import UNSENT_LIMIT
from appliance.http.call import Call
from appliance.http.channel import DRAIN_LIMIT, LARGE_READ, SMALL_READ, STALLED_WRITER_SECONDS
from appliance.http.endpoints import FormBody, Routes
from appliance.http.errors import HttpError
from appliance.http.site import Limits
from appliance.identity.caller import administrator
from tests.support.site import FORM, Client, Parcel, SiteTestCase, head, part, post


class Answers:
    routes = Routes(tag="Answers")

    def __init__(self) -> None:
        self.gate: Deferred[object] | None = None
        self.asked: list[str] = []

    @routes.get("/now", who=administrator)
    async def now(self, call: Call) -> object:
        self.asked.append(call.query.decode())
        return call.query.decode()

    @routes.get("/later", who=administrator)
    async def later(self, call: Call) -> object:
        if self.gate is not None:
            await self.gate
        return "later"

    @routes.get("/large", who=administrator)
    async def large(self, call: Call) -> object:
        return "x" * (10 << 20)

    @routes.post("/form", who=administrator, body=FormBody(Parcel), audit="form")
    async def form(self, call: Call, form: Parcel) -> object:
        return form.note


class ChannelTestCase(SiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.answers = Answers()
        self.serve(self.answers, Limits(header_timeout=10, idle_timeout=60, body_rate_floor=500))


class DeadlineTests(ChannelTestCase):
    def test_a_silent_client_is_answered_408(self) -> None:
        client = self.connect()
        self.wait(10)
        client.assert_no_response()
        self.wait(2)
        response = client.response()
        self.assertEqual((response.status, response.closes, client.is_closed), (408, True, True))
        self.wait(3)
        self.assertTrue(client.transport.aborted)

    def test_a_byte_a_second_does_not_help(self) -> None:
        client = self.connect()
        for byte in head("GET", "/now")[:11]:
            client.send(bytes([byte]))
            self.wait(1)
        self.assertEqual(client.response().status, 408)
        client.send(b"x" * 100)
        client.assert_no_response()

    def test_the_second_head_has_its_own_deadline(self) -> None:
        client = self.connect()
        client.send(head("GET", "/now"))
        client.response()
        self.wait(30)
        client.send(b"G")
        self.wait(10)
        client.assert_no_response()
        self.wait(2)
        self.assertEqual(client.response().status, 408)

    def test_an_idle_connection_is_closed_without_an_answer(self) -> None:
        client = self.connect()
        client.send(head("GET", "/now"))
        client.response()
        self.wait(60)
        self.assertFalse(client.is_closed)
        self.wait(2)
        self.assertEqual((client.is_closed, client.unread), (True, b""))
        client.send(head("GET", "/now?late"))
        self.assertEqual((client.unread, self.answers.asked), (b"", [""]))
        self.wait(4)
        self.assertTrue(client.transport.aborted)

    def test_a_slow_body_is_answered_408(self) -> None:
        client = self.connect()
        client.send(post("/form", part('name="note"', b"x" * 7000), FORM)[:-6000])
        for _ in range(9):
            client.send(b"x")
            self.wait(1)
        client.assert_no_response()
        self.wait(3)
        response = client.response()
        self.assertEqual((response.status, response.closes), (408, True))

    def test_a_body_at_the_floor_goes_on(self) -> None:
        client = self.connect()
        client.send(
            head("POST", "/form", "Content-Length: 100000", f"Content-Type: {FORM}") + part('name="note"', b"")[:-2]
        )
        for _ in range(12):
            client.send(b"x" * 550)
            self.wait(1)
        client.assert_no_response()
        self.assertFalse(client.is_closed)
        client.leave()

    def test_the_floor_can_be_switched_off(self) -> None:
        self.site.limits = Limits(body_rate_floor=0)
        client = self.connect()
        client.send(head("POST", "/form", "Content-Length: 5"))
        self.wait(300)
        client.assert_no_response()
        self.assertFalse(client.is_closed)
        client.leave()

    def test_an_answer_may_take_its_time(self) -> None:
        gate = self.answers.gate = Deferred()
        client = self.connect()
        client.send(head("GET", "/later"))
        self.wait(600)
        self.assertFalse(client.is_closed)
        gate.callback(None)
        self.assertEqual(client.response().json, "later")

    def test_a_client_that_never_reads_is_cut(self) -> None:
        client = self.connect()
        client.send(head("GET", "/now"))
        client.channel.pauseProducing()
        self.wait(STALLED_WRITER_SECONDS)
        self.assertFalse(client.transport.aborted)
        self.wait(2)
        self.assertTrue(client.transport.aborted)

    def test_a_slow_reader_is_not_taken_for_an_idle_client(self) -> None:
        client = self.connect()
        client.send(head("GET", "/now"))
        client.channel.pauseProducing()
        self.wait(100)
        self.assertFalse(client.is_closed)
        client.channel.resumeProducing()
        self.wait(60)
        self.assertFalse(client.is_closed)
        self.wait(2)
        self.assertTrue(client.is_closed)

    def test_one_broken_connection_does_not_end_the_watch(self) -> None:
        broken, silent = self.connect(), self.connect()

        def check(now: float) -> None:
            raise ZeroDivisionError

        self.patch(broken.channel, "check", check)
        self.wait(1)
        self.assertTrue(broken.transport.aborted)
        broken.leave()
        self.wait(11)
        self.assertEqual(silent.response().status, 408)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class UnreadAnswersTests(ChannelTestCase):
    """What is held for clients that do not read is bounded over all connections."""

    def ask(self, path: str, *, reads: bool) -> Client:
        client = self.connect()
        write = client.transport.write

        def written(data: bytes) -> None:
            write(data)
            if not reads and len(data) > 65536:
                client.channel.pauseProducing()  # as transports do it

        client.transport.write = written  # type: ignore[method-assign]
        client.send(head("GET", path))
        return client

    def status(self, path: str = "/large") -> int:
        client = self.ask(path, reads=True)
        status = client.response().status
        client.leave()
        return status

    def test_so_much_and_no_more(self) -> None:
        slow = [self.ask("/large", reads=False) for _ in range(UNSENT_LIMIT // (10 << 20))]
        self.assertEqual([client.response().status for client in slow], [200] * len(slow))
        refused = self.ask("/large", reads=True).response()
        self.assertEqual((refused.status, refused.headers["retry-after"]), (503, "5"))
        self.assertEqual(self.status("/now"), 200)
        slow.pop().channel.resumeProducing()
        self.assertEqual(self.status(), 200)
        slow.append(self.ask("/large", reads=False))
        self.assertEqual(self.status(), 503)
        for client in slow:
            client.leave()
        self.assertEqual((self.status(), self.site.unsent), (200, 0))

    def test_who_reads_is_not_counted(self) -> None:
        self.assertEqual([self.status() for _ in range(10)], [200] * 10)
        self.assertEqual(self.site.unsent, 0)

    def test_a_connection_that_is_handed_over_is_counted_no_more(self) -> None:
        client = self.ask("/large", reads=False)
        self.assertGreater(self.site.unsent, 10 << 20)
        client.channel.hand_over(Protocol(), b"")
        self.assertEqual(self.site.unsent, 0)


class MalformedTests(ChannelTestCase):
    def refused(self, *pieces: bytes) -> int:
        """The status of the one answer, after which the connection is closed."""
        client = self.connect()
        client.send(*pieces)
        response = client.response()
        self.assertTrue(response.closes and client.is_closed)
        client.send(head("GET", "/now"), b"\r\n\r\n", b"x" * 1000)
        self.assertEqual(client.unread, b"")
        self.assertEqual(self.answers.asked, [])
        return response.status

    def test_heads(self) -> None:
        for data, status in [
            (b"x\r\n\r\n", 400),
            (b"GET /x HTTP/1.1\r\nbad\r\n\r\n", 400),
            (b"GET /x HTTP/1.1\r\nA: \0\r\nHost: box\r\n\r\n", 400),
            (b"GET /" + b"x" * 20_000, 414),
            (b"GET / HTTP/1.1\r\nA: " + b"x" * 20_000, 431),
            (b"GET / HTTP/1.1\r\n" + b"A: x\r\n" * 600, 431),
            (b"GET / HTTP/1.1\r\n" + b"A: " + b"x" * 1000 + b"\r\n" + (b"B: " + b"x" * 1000 + b"\r\n") * 20, 431),
            (head("POST", "/form", "Content-Length: x"), 400),
            (head("POST", "/form", "Content-Length: " + "1" * 5000), 400),
            (head("POST", "/form", "Content-Length: 1", "Transfer-Encoding: chunked"), 400),
            (head("POST", "/form", "Content-Length: 1", "Content-Length: 1"), 400),
        ]:
            self.assertEqual(self.refused(data), status, data[:60])
            self.assertEqual(self.refused(*[data[i : i + 7] for i in range(0, len(data), 7)]), status, data[:60])

    def test_chunks(self) -> None:
        begin = head("POST", "/form", "Transfer-Encoding: chunked", f"Content-Type: {FORM}")
        for body in (b"x\r\n", b"2\r\nabc\r\n", b"-2\r\n", b"2 \r\n", b"1" * 2000, b"1;\0\r\n"):
            self.assertEqual(self.refused(begin, body), 400, body)
            self.assertEqual(self.refused(begin + body), 400, body)

    def test_a_defect_of_ours_is_not_taken_for_the_clients(self) -> None:
        def receive(piece: bytes) -> None:
            raise ValueError("ours")

        client = self.connect()
        client.send(head("POST", "/form", "Content-Length: 5"))
        self.patch(client.channel.requests[-1], "_feed", receive)
        with self.assertRaises(ValueError):
            client.send(b"abcde")
        client.leave()

    def test_the_drain_has_a_bound(self) -> None:
        client = self.connect()
        client.send(b"x\r\n\r\n")
        client.send(b"x" * DRAIN_LIMIT)
        self.assertFalse(client.transport.aborted)
        client.send(b"x")
        self.assertTrue(client.transport.aborted)

    def test_rejecting_twice_answers_once(self) -> None:
        client = self.connect()
        client.send(b"GET")
        client.channel.reject(HttpError(408))
        client.channel.reject(HttpError(400))
        self.assertEqual(client.response().status, 408)
        self.assertEqual(client.unread, b"")

    def test_what_was_rejected_leaves_no_access_line(self) -> None:
        client = self.connect()
        client.send(b"GET /secret HTTP/1.1\r\nbad\r\n\r\n")
        client.leave()
        self.assertEqual(self.access_lines(), [])


class PipelineTests(ChannelTestCase):
    def test_a_bad_request_in_the_middle(self) -> None:
        client = self.connect()
        client.send(head("GET", "/now?1") + b"BAD\r\n\r\n" + head("GET", "/now?2"))
        self.assertEqual(client.response().json, "1")
        self.assertEqual(client.response().status, 400)
        self.assertEqual((client.unread, self.answers.asked, client.is_closed), (b"", ["1"], True))

    def test_a_bad_request_behind_a_slow_one(self) -> None:
        gate = self.answers.gate = Deferred()
        client = self.connect()
        client.send(head("GET", "/later") + b"BAD\r\n\r\n", head("GET", "/now"))
        client.assert_no_response()
        gate.callback(None)
        self.assertEqual([client.response().status for _ in range(2)], [200, 400])
        self.assertEqual((client.unread, self.answers.asked), (b"", []))

    def test_nothing_after_close(self) -> None:
        client = self.connect()
        client.send(head("GET", "/now?1", "Connection: close") + head("GET", "/now?2"), head("GET", "/now?3"))
        self.assertTrue(client.response().closes)
        self.assertEqual((client.unread, self.answers.asked), (b"", ["1"]))

    def test_many_do_not_pile_up_on_the_stack(self) -> None:
        client = self.connect()
        client.send(b"".join(head("GET", f"/now?{i}") for i in range(3000)))
        self.assertEqual([client.response().json for _ in range(3000)], [str(i) for i in range(3000)])

    def test_who_sends_much_behind_a_slow_request_has_to_wait(self) -> None:
        gate = self.answers.gate = Deferred()
        client = self.connect()
        client.send(head("GET", "/later"))
        client.send(head("GET", "/now", "X: " + "x" * 9000) * 2)
        self.assertTrue(client.is_paused)
        gate.callback(None)
        self.assertFalse(client.is_paused)
        self.assertEqual([client.response().status for _ in range(3)], [200] * 3)

    def test_large_reads_for_large_bodies_only(self) -> None:
        client = self.connect()
        transport: Any = client.transport
        client.send(head("GET", "/now"))
        self.assertEqual(transport.bufferSize, SMALL_READ)
        client.send(post("/form", part('name="small"; filename="x"', b"x" * 1_100_000) + b"--b--\r\n", FORM)[:1000])
        self.assertEqual(transport.bufferSize, LARGE_READ)
        client.leave()

    def test_connection_options(self) -> None:
        for lines, closes in [
            ((), False),
            (("Connection: keep-alive",), False),
            (("Connection: closed",), False),
            (("Connection: close",), True),
            (("Connection: TE, Close",), True),
            (("Connection: close,TE",), True),
            (("Connection: TE", "Connection: close"), True),
        ]:
            client = self.connect()
            client.send(head("GET", "/now", *lines))
            self.assertEqual((client.response().closes, client.is_closed), (closes, closes), lines)

    def test_http_1_0_closes(self) -> None:
        client = self.connect()
        client.send(head("GET", "/now", "Connection: keep-alive", version="HTTP/1.0"))
        self.assertTrue(client.response().closes and client.is_closed)


class DrainTests(ChannelTestCase):
    def test_an_idle_connection_is_closed_and_reads_no_more(self) -> None:
        client = self.connect()
        client.send(head("GET", "/now?1"))
        client.response()
        client.channel.drain()
        self.assertTrue(client.is_closed)
        client.send(head("GET", "/now?2"))
        self.assertEqual((client.unread, self.answers.asked), (b"", ["1"]))
        client.leave()

    def test_half_a_head_is_not_completed(self) -> None:
        client = self.connect()
        data = head("GET", "/now")
        client.send(data[:-3])
        client.channel.drain()
        client.send(data[-3:])
        self.assertEqual((client.unread, self.answers.asked), (b"", []))
        client.leave()

    def test_an_answer_under_way_is_given_and_says_close(self) -> None:
        gate = self.answers.gate = Deferred()
        client = self.connect()
        client.send(head("GET", "/later"), head("GET", "/now"))
        client.channel.drain()
        self.assertFalse(client.is_closed)
        gate.callback(None)
        self.assertTrue(client.response().closes)
        self.assertEqual((client.unread, self.answers.asked, client.is_closed), (b"", [], True))
        client.leave()

    def test_a_body_under_way_is_received(self) -> None:
        client = self.connect()
        data = post("/form", part('name="note"', b"x") + b"--b--\r\n", FORM)
        client.send(data[:-20])
        client.channel.drain()
        client.send(data[-20:])
        response = client.response()
        self.assertEqual((response.json, response.closes), ("x", True))
        client.leave()
