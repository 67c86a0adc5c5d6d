"""The life of a request, in memory: admission, body, refusal, answer, and clients that go away in between."""

import hashlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred

from appliance.http.call import Call
from appliance.http.endpoints import FormBody, JsonBody, Routes
from appliance.http.errors import HttpError, bad_request, forbidden
from appliance.http.replies import FileReply, Reply
from appliance.http.request import COALESCE_AFTER, COALESCED, decode_path
from appliance.http.uploads import Part, Upload
from appliance.identity.caller import administrator
from tests.support.site import END, FORM, SiteTestCase, head, part, post


class Thing(msgspec.Struct):
    name: str


class Parcel(msgspec.Struct):
    file: Upload | None = None
    small: Part | None = None
    note: str | None = None


class Things:
    """Endpoints that note what reached them; `gate`, where set, is waited for."""

    routes = Routes(tag="Things")

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.gate: Deferred[object] | None = None
        self.cancelled = 0
        self.file = Path("/nonexistent")

    async def _pass(self, value: object) -> object:
        self.seen.append(value)
        if self.gate is not None:
            try:
                await self.gate
            except CancelledError:
                self.cancelled += 1
                raise
        return value

    @routes.get("/thing", who=administrator)
    async def read(self, call: Call) -> object:
        return await self._pass("read")

    @routes.post("/thing", who=administrator, body=JsonBody(Thing), audit="thing.post")
    async def write(self, call: Call, body: Thing) -> object:
        return await self._pass(body)

    @routes.post("/parcel", who=administrator, body=FormBody(Parcel), audit="parcel.post")
    async def parcel(self, call: Call, form: Parcel) -> object:
        content = form.file.path.read_bytes() if form.file is not None else b""
        found = {
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "said": form.file.sha256 if form.file is not None else None,
            "small": form.small.content.hex() if form.small is not None else None,
            "note": form.note,
        }
        return await self._pass(found)

    @routes.get("/broken", who=administrator)
    async def broken(self, call: Call) -> object:
        raise ZeroDivisionError

    @routes.get("/file", who=administrator)
    async def download(self, call: Call) -> FileReply:
        return FileReply(self.file, "application/octet-stream", {"Filename": "x"})

    @routes.get("/empty", who=administrator)
    async def empty(self, call: Call) -> Reply:
        return Reply(204, b"")


class RequestTestCase(SiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.things = Things()
        self.serve(self.things)


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

    def test_no_content_has_no_length(self) -> None:
        client = self.connect()
        client.send(head("GET", "/empty"), head("GET", "/thing"))
        response = client.response()
        self.assertEqual(response.status, 204)
        self.assertNotIn("content-length", response.headers)
        self.assertEqual(client.response().json, "read")

    def test_a_deferred_handler_answers_later_and_holds_the_pipeline(self) -> None:
        gate = self.things.gate = Deferred()
        client = self.connect()
        client.send(head("GET", "/thing") * 2)
        client.assert_no_response()
        self.assertEqual(self.things.seen, ["read"])
        self.things.gate = None
        gate.callback(None)
        self.assertEqual([client.response().json for _ in range(2)], ["read", "read"])

    def test_a_deferred_handler_that_fails(self) -> None:
        gate = self.things.gate = Deferred()
        client = self.connect()
        client.send(head("GET", "/thing"))
        gate.errback(bad_request("no"))
        self.assertEqual(client.response().json, {"status": 400, "message": "no"})

    def test_a_handler_cancelled_from_within_is_answered_all_the_same(self) -> None:
        gate = self.things.gate = Deferred()
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
        self.doorkeeper.verdict = waiting = Deferred()
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
        self.doorkeeper.verdict = waiting = Deferred()
        client = self.connect()
        data = post("/thing", b'{"name":"x"}')
        client.send(data[:-8], data[-8:-5])
        waiting.callback(verdict)
        self.assertFalse(client.is_paused)
        client.send(data[-5:])
        self.assertEqual(client.response().json, {"name": "x"})

    def test_a_late_refusal_closes(self) -> None:
        for complete in (False, True):
            self.doorkeeper.verdict = waiting = Deferred()
            client = self.connect()
            data = post("/thing", b'{"name":"x"}')
            client.send(data if complete else data[:-5])
            waiting.errback(forbidden("no"))
            response = client.response()
            self.assertEqual(response.json, {"status": 403, "message": "no"})
            self.assertEqual(response.closes, not complete)
            client.send(head("GET", "/thing"))
            self.assertEqual(self.things.seen, [])

    def test_100_continue_waits_for_admission(self) -> None:
        verdict = self.doorkeeper.verdict
        self.doorkeeper.verdict = waiting = Deferred()
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
        self.doorkeeper.verdict = waiting = Deferred()
        client = self.connect()
        client.send(data[:-12])
        waiting.errback(forbidden("no"))
        self.assertEqual(client.response().status, 403)

    def test_bad_chunks_while_the_caller_is_not_known_yet(self) -> None:
        verdict = self.doorkeeper.verdict
        self.doorkeeper.verdict = waiting = Deferred()
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
            self.doorkeeper.verdict = waiting = Deferred()
            client = self.connect()
            data = post("/parcel", part('name="file"; filename="f"', b"x" * 200_000) + END, FORM)
            client.send(data if complete else data[:-100])
            client.leave()
            waiting.callback(verdict)
            # A change whose body was whole runs to its end; of half a body nothing is left.
            self.assertEqual(len(self.things.seen), int(complete))
            self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_refusal_for_a_client_that_is_gone(self) -> None:
        self.doorkeeper.verdict = waiting = Deferred()
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
        body = part('name="note"', b"a") + part('name="small"; filename="s"', b"x" * 100_000) + part('name="note"', b"b") + END
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
            self.doorkeeper.verdict = waiting = Deferred()
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


class GoneClientTests(RequestTestCase):
    def test_a_read_is_cancelled(self) -> None:
        self.things.gate = Deferred()
        client = self.connect()
        client.send(head("GET", "/thing"))
        client.leave()
        self.assertEqual(self.things.cancelled, 1)
        self.assertEqual([line["status"] for line in self.access_lines()], [499])

    def test_a_change_runs_to_its_end(self) -> None:
        gate = self.things.gate = Deferred()
        client = self.connect()
        client.send(post("/thing", b'{"name":"x"}'))
        client.leave()
        self.assertEqual((self.things.cancelled, self.notebook.entries), (0, []))
        gate.callback(None)
        self.assertEqual(self.notebook.entries, [("thing.post", "success")])
        client.assert_no_response()
        self.assertEqual([line["status"] for line in self.access_lines()], [200])

    def test_half_an_upload_leaves_no_file(self) -> None:
        client = self.connect()
        data = post("/parcel", part('name="file"; filename="f"', b"x" * 2_000_000) + END, FORM)
        client.send(*[data[i : i + 65536] for i in range(0, 1_500_000, 65536)])
        self.assertEqual(len(list(self.folder.iterdir())), 1)
        client.leave()
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_half_an_upload_whose_writing_goes_on(self) -> None:
        self.threads.held = []
        client = self.connect()
        data = post("/parcel", part('name="file"; filename="f"', b"x" * 2_000_000) + END, FORM)
        client.send(*[data[i : i + 65536] for i in range(0, 1_000_000, 65536)])
        client.leave()
        self.assertEqual(len(list(self.folder.iterdir())), 1)
        self.threads.release()
        self.threads.release()
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_credentials_in_the_form_that_come_true_too_late(self) -> None:
        self.doorkeeper.verdict = None
        self.doorkeeper.form_verdict = waiting = Deferred()
        client = self.connect()
        client.send(post("/parcel", part('name="pass"', b"open") + part('name="file"; filename="f"', b"x" * 900) + END, FORM)[:-300])
        self.assertTrue(client.is_paused)
        client.leave()
        waiting.errback(forbidden("no"))
        self.assertEqual(list(self.folder.iterdir()), [])
        self.doorkeeper.form_verdict = waiting = Deferred()
        client = self.connect()
        client.send(post("/parcel", part('name="pass"', b"open") + part('name="file"; filename="f"', b"x" * 900) + END, FORM)[:-300])
        client.leave()
        waiting.callback(None)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_before_anything_was_sent(self) -> None:
        self.connect().leave()
        client = self.connect()
        client.send(b"GET /api/th")
        client.leave()
        self.assertEqual(self.access_lines(), [])


class BackPressureTests(RequestTestCase):
    def test_a_slow_disk_holds_the_client(self) -> None:
        self.threads.held = []
        client = self.connect()
        data = post("/parcel", part('name="file"; filename="f"', b"x" * 5_000_000) + END, FORM)
        sent = 0
        while not client.is_paused:
            client.send(data[sent : sent + 65536])
            sent += 65536
        self.assertLess(sent, 2_000_000)
        for _ in range(100):
            while not client.is_paused and sent < len(data):
                client.send(data[sent : sent + 65536])
                sent += 65536
            self.threads.release()
            if not self.threads.held:
                break
        self.assertEqual(client.response().json["sha256"], hashlib.sha256(b"x" * 5_000_000).hexdigest())
        self.assertFalse(client.is_paused)

    def test_a_client_held_by_us_is_not_too_slow(self) -> None:
        self.doorkeeper.verdict = Deferred()
        client = self.connect()
        client.send(post("/thing", b'{"name":"x"}')[:-5])
        self.wait(60)
        client.assert_no_response()

    def test_small_pieces_are_joined_after_the_first_64_kib(self) -> None:
        fed: list[int] = []
        client = self.connect()
        data = post("/parcel", part('name="file"; filename="f"', b"x" * 600_000) + END, FORM)
        begin = data.index(b"--b")
        client.send(data[:begin])
        receiver = client.channel.requests[-1]._receiver
        assert receiver is not None
        feed = receiver.feed
        self.patch(receiver, "feed", lambda piece: (fed.append(len(piece)), feed(piece))[1])
        body = data[begin:]
        client.send(*[body[i : i + 16384] for i in range(0, len(body), 16384)])
        self.assertEqual(fed[:4], [16384] * 4)
        self.assertEqual(sum(fed), len(body))
        self.assertTrue(all(size >= COALESCED for size in fed[4:-1]))
        self.assertEqual(client.response().status, 200)


BORDERS = [COALESCE_AFTER + off for off in (-1, 0, 1)] + [COALESCE_AFTER + COALESCED + off for off in (-1, 0, 1)]


class SplitTests(RequestTestCase):
    """However a body is cut into reads, the same form comes of it."""

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(
        content=st.binary(max_size=300) | st.sampled_from([b"\r\n--b", b"\r\n--b\r\r\n--", b"\r" * 50, b"--b--\r\n", b"\r\n--bb\r\n"]),
        size=st.sampled_from([0, 1, 1000, COALESCE_AFTER, COALESCE_AFTER + COALESCED, 400_000]),
        cuts=st.lists(st.integers(0, 420_000) | st.sampled_from(BORDERS), max_size=12),
        tail_cut=st.integers(0, 40),
        end=st.sampled_from([END, b"--b--"]),
    )
    def test_any_split(self, content: bytes, size: int, cuts: list[int], tail_cut: int, end: bytes) -> None:
        content = content.replace(b"\r\n--b", b"\r\n--c")  # the boundary itself ends a part
        blob = content + bytes(size) + content
        body = part('name="note"', "ä".encode()) + part('name="file"; filename="f"', blob) + part('name="small"; filename="s"', content) + end
        data = post("/parcel", body, FORM)
        begin = data.index(b"\r\n\r\n") + 4
        places = sorted({begin + cut for cut in cuts if begin + cut < len(data)} | {len(data) - tail_cut})
        pieces = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True) if a < b]
        client = self.connect()
        client.send(*pieces)
        response = client.response()
        assert response.status == 200, response
        digest = hashlib.sha256(blob).hexdigest()
        assert response.json == {"size": len(blob), "sha256": digest, "said": digest, "small": content.hex(), "note": "ä"}
        assert list(self.folder.iterdir()) == []
        client.leave()

    def test_the_last_line_end_by_itself(self) -> None:
        body = part('name="note"', b"x") + END
        for cut in range(1, 12):
            for second in (0, 1):
                data = post("/parcel", body, FORM)
                client = self.connect()
                client.send(*[piece for piece in (data[:-cut], data[-cut : len(data) - second], data[len(data) - second :]) if piece])
                self.assertEqual(client.response().status, 200, (cut, second))

    def test_something_else_after_the_end(self) -> None:
        body = part('name="note"', b"x") + END
        data = post("/parcel", body + b"more", FORM)
        client = self.connect()
        client.send(data[:-4], data[-4:])
        self.assertEqual(client.response().status, 400)


@pytest.mark.parametrize(
    ("raw", "path"),
    [(b"/a%20b", "/a b"), (b"/%C3%B6", "/ö"), (b"/%zz", "/%zz"), (b"/a%2fb", "/a/b"), (b"//a", "//a"), (b"/", "/")],
)
def test_paths(raw: bytes, path: str) -> None:
    assert decode_path(raw) == path


@pytest.mark.parametrize("raw", [b"", b"a", b"*", b"/%00", b"/%0d%0a", b"/%7f", b"/%ff", b"/%c0%af", b"/%ed%a0%80", b"/%e2%80%ae", b"/%c2%85"])
def test_bad_paths(raw: bytes) -> None:
    with pytest.raises(HttpError) as caught:
        decode_path(raw)
    assert caught.value.status == 400
