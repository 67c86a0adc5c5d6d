"""Bodies on their way in, in memory: clients that go away, a slow disk, and however the reads cut them."""

import hashlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from appliance.http.errors import HttpError, forbidden
from appliance.http.request import COALESCE_AFTER, COALESCED, decode_path
from tests.support.site import END, FORM, Client, head, part, post
from tests.support.things import RequestTestCase


class GoneClientTests(RequestTestCase):
    def test_a_read_is_cancelled(self) -> None:
        self.things.gate = Deferred()
        client = self.connect()
        client.send(head("GET", "/thing"))
        client.leave()
        self.assertEqual(self.things.cancelled, 1)
        self.assertEqual([line["status"] for line in self.access_lines()], [499])

    def test_a_change_runs_to_its_end(self) -> None:
        gate: Deferred[Any] = Deferred()
        self.things.gate = gate
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
        data = post("/parcel", part('name="pass"', b"open") + part('name="file"; filename="f"', b"x" * 900) + END, FORM)
        self.doorkeeper.verdict = None
        waiting: Deferred[Any] = Deferred()
        self.doorkeeper.form_verdict = waiting
        client = self.connect()
        client.send(data[:-300])
        self.assertTrue(client.is_paused)
        client.leave()
        waiting.errback(forbidden("no"))
        self.assertEqual(list(self.folder.iterdir()), [])
        waiting = Deferred()
        self.doorkeeper.form_verdict = waiting
        client = self.connect()
        client.send(data[:-300])
        client.leave()
        waiting.callback(None)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_before_anything_was_sent(self) -> None:
        self.connect().leave()
        client = self.connect()
        client.send(b"GET /api/th")
        client.leave()
        self.assertEqual(self.access_lines(), [])


def send_until_held(client: Client, data: bytes, sent: int) -> int:
    """Send on from byte `sent` until the server holds the client off; return how far that went."""
    while sent < len(data) and not client.is_paused:
        client.send(data[sent : sent + 65536])
        sent += 65536
    return sent


class BackPressureTests(RequestTestCase):
    def test_a_slow_disk_holds_the_client(self) -> None:
        self.threads.held = []
        client = self.connect()
        data = post("/parcel", part('name="file"; filename="f"', b"x" * 5_000_000) + END, FORM)
        sent = send_until_held(client, data, 0)
        self.assertLess(sent, 2_000_000)
        while self.threads.held:
            self.threads.release()
            sent = send_until_held(client, data, sent)
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

        def count(piece: bytes) -> Any:
            fed.append(len(piece))
            return feed(piece)

        self.patch(receiver, "feed", count)
        body = data[begin:]
        client.send(*[body[i : i + 16384] for i in range(0, len(body), 16384)])
        self.assertEqual(fed[:4], [16384] * 4)
        self.assertEqual(sum(fed), len(body))
        self.assertTrue(all(size >= COALESCED for size in fed[4:-1]))
        self.assertEqual(client.response().status, 200)


BORDERS = [COALESCE_AFTER + off for off in (-1, 0, 1)] + [COALESCE_AFTER + COALESCED + off for off in (-1, 0, 1)]


class SplitTests(RequestTestCase):
    """However a body is cut into reads, the same form comes of it."""

    @settings(max_examples=60, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])
    @given(
        content=st.binary(max_size=300)
        | st.sampled_from([b"\r\n--", b"\r\n-", b"\r\n--\r\n--", b"\r" * 50, b"\r\n--a--\r\n"]),
        size=st.sampled_from([0, 1, 1000, COALESCE_AFTER, COALESCE_AFTER + COALESCED, 400_000]),
        cuts=st.lists(st.integers(0, 420_000) | st.sampled_from(BORDERS), max_size=12),
        tail_cut=st.integers(0, 40),
        end=st.sampled_from([END, b"--b--"]),
    )
    def test_any_split(self, content: bytes, size: int, cuts: list[int], tail_cut: int, end: bytes) -> None:
        content = content.replace(b"--b", b"--c")  # the boundary itself would end the part
        blob = content + bytes(size) + content
        body = (
            part('name="note"', "ä".encode())
            + part('name="file"; filename="f"', blob)
            + part('name="small"; filename="s"', content)
            + end
        )
        data = post("/parcel", body, FORM)
        begin = data.index(b"\r\n\r\n") + 4
        places = sorted({begin + cut for cut in cuts if begin + cut < len(data)} | {len(data) - tail_cut})
        pieces = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True) if a < b]
        client = self.connect()
        client.send(*pieces)
        response = client.response()
        assert response.status == 200, response
        digest = hashlib.sha256(blob).hexdigest()
        assert response.json == {
            "size": len(blob),
            "sha256": digest,
            "said": digest,
            "small": content.hex(),
            "note": "ä",
        }
        assert list(self.folder.iterdir()) == []
        client.leave()

    def test_the_last_line_end_by_itself(self) -> None:
        body = part('name="note"', b"x") + END
        for cut in range(1, 12):
            for second in (0, 1):
                data = post("/parcel", body, FORM)
                client = self.connect()
                client.send(
                    *[
                        piece
                        for piece in (data[:-cut], data[-cut : len(data) - second], data[len(data) - second :])
                        if piece
                    ]
                )
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


@pytest.mark.parametrize(
    "raw",
    [b"", b"a", b"*", b"/%00", b"/%0d%0a", b"/%7f", b"/%ff", b"/%c0%af", b"/%ed%a0%80", b"/%e2%80%ae", b"/%c2%85"],
)
def test_bad_paths(raw: bytes) -> None:
    with pytest.raises(HttpError) as caught:
        decode_path(raw)
    assert caught.value.status == 400
