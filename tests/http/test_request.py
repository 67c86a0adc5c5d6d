"""The life of a request, in memory: admission, refusal, answer."""

import hashlib
from typing import Any

from twisted.internet.defer import Deferred

from appliance.http.errors import bad_request, forbidden
from tests.support.site import END, FORM, head, part, post
from tests.support.things import RequestTestCase


class AnswerTests(RequestTestCase):
    def test_an_answer(self) -> None:
        client = self.connect()
        client.send(head("GET", "/thing"))
        response = client.response()
        self.assertEqual((response.status, response.json), (200, "read"))
        self.assertFalse(response.closes)
        self.assertFalse(client.is_closed)

    def test_ids_differ(self) -> None:
        client = self.connect()
        client.send(head("GET", "/thing") * 2)
        self.assertNotEqual(*[client.response().headers["x-request-id"] for _ in range(2)])

    def test_a_defect_is_logged_and_answered(self) -> None:
        client = self.connect()
        client.send(head("GET", "/broken"), head("GET", "/thing"))
        self.assertEqual(client.response().json, {"status": 500, "message": None})
        self.assertEqual(client.response().json, "read")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_full_disk_is_answered(self) -> None:
        client = self.connect()
        client.send(head("GET", "/full"), head("GET", "/thing"))
        response = client.response()
        self.assertEqual((response.status, "space" in response.json["message"]), (507, True))
        self.assertEqual(client.response().json, "read")

    def test_no_content_has_no_length(self) -> None:
        client = self.connect()
        client.send(head("GET", "/empty"), head("GET", "/thing"))
        response = client.response()
        self.assertEqual(response.status, 204)
        self.assertNotIn("content-length", response.headers)
        self.assertEqual(client.response().json, "read")

    def test_a_deferred_handler_answers_later_and_holds_the_pipeline(self) -> None:
        gate: Deferred[Any] = Deferred()
        self.things.gate = gate
        client = self.connect()
        client.send(head("GET", "/thing") * 2)
        client.assert_no_response()
        self.assertEqual(self.things.seen, ["read"])
        self.things.gate = None
        gate.callback(None)
        self.assertEqual([client.response().json for _ in range(2)], ["read", "read"])

    def test_a_deferred_handler_that_fails(self) -> None:
        gate: Deferred[Any] = Deferred()
        self.things.gate = gate
        client = self.connect()
        client.send(head("GET", "/thing"))
        gate.errback(bad_request("no"))
        self.assertEqual(client.response().json, {"status": 400, "message": "no"})

    def test_a_handler_cancelled_from_within_is_answered_all_the_same(self) -> None:
        gate: Deferred[Any] = Deferred()
        self.things.gate = gate
        client = self.connect()
        client.send(head("GET", "/thing"))
        gate.cancel()
        self.assertEqual(client.response().status, 503)
        self.things.gate = None
        client.send(head("GET", "/thing"))
        self.assertEqual(client.response().json, "read")

    def test_the_access_log_has_one_line_each(self) -> None:
        client = self.connect()
        client.send(head("GET", "/thing?token=secret"), head("GET", "/nothing"), head("GET", "/%ff"))
        lines = self.access_lines()
        self.assertEqual([line["status"] for line in lines], [200, 404, 400])
        self.assertEqual([line["path"] for line in lines], ["/api/thing", "/api/nothing", "/api/%ff"])
        self.assertEqual([line["caller"] for line in lines], ["tester", "", ""])
        self.assertNotIn(b"secret", b"".join(self.logged))


class AdmissionTests(RequestTestCase):
    def test_a_body_is_held_until_the_caller_is_known(self) -> None:
        verdict = self.doorkeeper.verdict
        waiting: Deferred[Any] = Deferred()
        self.doorkeeper.verdict = waiting
        client = self.connect()
        data = post("/thing", b'{"name":"x"}')
        client.send(data[:-5])
        self.assertTrue(client.is_paused)
        client.send(data[-5:])
        client.assert_no_response()
        self.assertEqual(self.things.seen, [])
        waiting.callback(verdict)
        self.assertEqual(client.response().json, {"name": "x"})
        self.assertFalse(client.is_paused)
        self.assertEqual(self.notebook.entries, [("thing.post", "success")])

    def test_admission_in_the_middle_of_a_body(self) -> None:
        verdict = self.doorkeeper.verdict
        waiting: Deferred[Any] = Deferred()
        self.doorkeeper.verdict = waiting
        client = self.connect()
        data = post("/thing", b'{"name":"x"}')
        client.send(data[:-8], data[-8:-5])
        waiting.callback(verdict)
        self.assertFalse(client.is_paused)
        client.send(data[-5:])
        self.assertEqual(client.response().json, {"name": "x"})

    def test_a_late_refusal_closes(self) -> None:
        for complete in (False, True):
            waiting: Deferred[Any] = Deferred()
            self.doorkeeper.verdict = waiting
            client = self.connect()
            data = post("/thing", b'{"name":"x"}')
            client.send(data if complete else data[:-5])
            waiting.errback(forbidden("no"))
            response = client.response()
            self.assertEqual(response.json, {"status": 403, "message": "no"})
            self.assertEqual(response.closes, not complete)
            if not complete:
                client.send(head("GET", "/thing"))
            self.assertEqual((client.unread, self.things.seen), (b"", []))

    def test_100_continue_waits_for_admission(self) -> None:
        verdict = self.doorkeeper.verdict
        waiting: Deferred[Any] = Deferred()
        self.doorkeeper.verdict = waiting
        client = self.connect()
        data = post("/thing", b'{"name":"x"}', "application/json", "Expect: 100-continue")
        client.send(data[:-12])
        self.assertEqual(client.unread, b"")
        waiting.callback(verdict)
        self.assertEqual(client.response().status, 100)
        client.send(data[-12:])
        self.assertEqual(client.response().status, 200)

    def test_no_100_continue_for_the_refused_nor_for_http_1_0(self) -> None:
        data = post("/thing", b'{"name":"x"}', "application/json", "Expect: 100-continue")
        client = self.connect()
        client.send(data.replace(b"HTTP/1.1", b"HTTP/1.0"))
        self.assertEqual(client.response().status, 200)
        self.doorkeeper.verdict = forbidden("no")
        client = self.connect()
        client.send(data[:-12])
        self.assertEqual(client.response().status, 403)
        waiting: Deferred[Any] = Deferred()
        self.doorkeeper.verdict = waiting
        client = self.connect()
        client.send(data[:-12])
        waiting.errback(forbidden("no"))
        self.assertEqual(client.response().status, 403)

    def test_bad_chunks_while_the_caller_is_not_known_yet(self) -> None:
        verdict = self.doorkeeper.verdict
        waiting: Deferred[Any] = Deferred()
        self.doorkeeper.verdict = waiting
        client = self.connect()
        client.send(head("POST", "/thing", "Transfer-Encoding: chunked"), b"2\r\n{}\r\n", b"zz\r\n")
        client.assert_no_response()
        waiting.callback(verdict)
        response = client.response()
        self.assertEqual((response.status, response.closes), (400, True))
        self.assertEqual(client.unread, b"")
        self.assertEqual(self.things.seen, [])

    def test_a_client_that_goes_before_its_admission(self) -> None:
        verdict = self.doorkeeper.verdict
        for complete in (False, True):
            waiting: Deferred[Any] = Deferred()
            self.doorkeeper.verdict = waiting
            client = self.connect()
            data = post("/parcel", part('name="file"; filename="f"', b"x" * 200_000) + END, FORM)
            client.send(data if complete else data[:-100])
            client.leave()
            waiting.callback(verdict)
            # A change whose body was whole runs to its end; of half a body nothing is left.
            self.assertEqual(len(self.things.seen), int(complete))
            self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_refusal_for_a_client_that_is_gone(self) -> None:
        waiting: Deferred[Any] = Deferred()
        self.doorkeeper.verdict = waiting
        client = self.connect()
        client.send(post("/thing", b'{"name":"x"}')[:-5])
        client.leave()
        waiting.errback(forbidden("no"))
        client.assert_no_response()
        self.assertEqual([line["status"] for line in self.access_lines()], [499])


class RefusalTests(RequestTestCase):
    def test_a_refusal_drains_and_closes(self) -> None:
        self.doorkeeper.verdict = forbidden("no")
        client = self.connect()
        client.send(head("POST", "/thing", "Content-Length: 1000000"))
        response = client.response()
        self.assertEqual((response.status, response.closes), (403, True))
        self.assertTrue(client.is_closed)
        client.send(b"x" * 100_000, head("GET", "/thing"))
        client.assert_no_response()
        self.assertFalse(client.transport.aborted)
        self.wait(4)
        self.assertTrue(client.transport.aborted)

    def test_who_sends_on_is_cut_off(self) -> None:
        self.doorkeeper.verdict = forbidden("no")
        client = self.connect()
        client.send(head("POST", "/thing", "Content-Length: 100000000"))
        for _ in range(9):
            client.send(b"x" * 1024 * 1024)
        self.assertTrue(client.transport.aborted)

    def test_a_refusal_without_a_body_keeps_the_connection(self) -> None:
        self.doorkeeper.verdict = forbidden("no")
        client = self.connect()
        client.send(head("GET", "/thing") * 2)
        self.assertEqual([client.response().status for _ in range(2)], [403, 403])
        self.assertFalse(client.is_closed)

    def test_chunks_that_are_there_already_when_the_first_is_refused(self) -> None:
        body = b"".join(b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n" for _ in range(3)) + b"0\r\n\r\n"
        client = self.connect()
        client.send(head("POST", "/thing", "Transfer-Encoding: chunked") + body)
        response = client.response()
        self.assertEqual((response.status, response.closes), (413, True))
        self.assertEqual(client.unread, b"")

    def test_a_refusal_from_the_last_coalesced_piece(self) -> None:
        body = (
            part('name="note"', b"a")
            + part('name="small"; filename="s"', b"x" * 100_000)
            + part('name="note"', b"b")
            + END
        )
        client = self.connect()
        client.send(*[post("/parcel", body, FORM)[i : i + 16384] for i in range(0, len(body) + 200, 16384)])
        response = client.response()
        self.assertEqual((response.status, response.json["message"]), (400, "Duplicate field: note"))
        self.assertEqual(client.unread, b"")

    def test_no_second_answer_when_the_body_ends_after_the_refusal(self) -> None:
        client = self.connect()
        data = post("/parcel", part('name="other"; filename="f"', b"x" * 1000) + END, FORM)
        client.send(data[:-500], data[-500:], head("GET", "/thing"))
        self.assertEqual(client.response().status, 400)
        self.assertEqual(client.unread, b"")
        self.assertEqual(self.things.seen, [])


class DigestTests(RequestTestCase):
    BODY = b'{"name":"x"}'

    def test_the_right_body(self) -> None:
        self.doorkeeper.expected_digest = hashlib.sha256(self.BODY).hexdigest()
        client = self.connect()
        data = post("/thing", self.BODY)
        client.send(*[data[i : i + 1] for i in range(len(data))])
        self.assertEqual(client.response().json, {"name": "x"})

    def test_another_body_is_refused_before_the_handler(self) -> None:
        self.doorkeeper.expected_digest = hashlib.sha256(self.BODY).hexdigest()
        for body in (b'{"name":"y"}', self.BODY + b" ", b'{"name":"x" }'):
            client = self.connect()
            client.send(post("/thing", body))
            self.assertEqual(client.response().json, {"status": 403, "message": "Authentication error"})
        self.assertEqual(self.things.seen, [])
        self.assertEqual(self.notebook.entries, [("thing.post", "refused: Authentication error")] * 3)

    def test_no_body(self) -> None:
        self.doorkeeper.expected_digest = hashlib.sha256(b"").hexdigest()
        client = self.connect()
        client.send(head("GET", "/thing"))
        self.assertEqual(client.response().status, 200)
        self.doorkeeper.expected_digest = hashlib.sha256(b"x").hexdigest()
        client.send(head("GET", "/thing"))
        self.assertEqual(client.response().status, 403)

    def test_a_body_that_waited_for_its_admission_counts_as_well(self) -> None:
        for body, status in ((self.BODY, 200), (b'{"name":"y"}', 403)):
            verdict = self.doorkeeper.verdict
            self.doorkeeper.expected_digest = hashlib.sha256(self.BODY).hexdigest()
            waiting: Deferred[Any] = Deferred()
            self.doorkeeper.verdict = waiting
            client = self.connect()
            client.send(post("/thing", body))
            waiting.callback(verdict)
            self.assertEqual(client.response().status, status)
            self.doorkeeper.verdict = verdict

    def test_a_large_form(self) -> None:
        body = part('name="file"; filename="f"', b"y" * 700_000) + END
        for sent, status in ((body, 200), (body.replace(b"yyy\r", b"yyz\r"), 403)):
            self.doorkeeper.expected_digest = hashlib.sha256(body).hexdigest()
            client = self.connect()
            data = post("/parcel", sent, FORM)
            client.send(*[data[i : i + 32768] for i in range(0, len(data), 32768)])
            self.assertEqual(client.response().status, status)
        self.assertEqual(len(self.things.seen), 1)
