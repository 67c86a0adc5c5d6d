import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from appliance.http import access_log
from appliance.http.access_log import AccessLog
from appliance.http.call import Call
from appliance.identity.caller import Caller


class AccessLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.written: list[bytes] = []
        self.log = AccessLog(self.clock, self.written.append)

    def call(self, path: str = "/api/x", raw: bytes = b"/api/x") -> Call:
        headers = Headers({b"Authorization": [b"Bearer secret-header"], b"Cookie": [b"secret-cookie"]})
        call = Call("id-1", "GET", raw, path, b"token=secret-query", headers)
        call.address, call.started = "192.0.2.1", self.clock.seconds()
        call.caller = Caller("token", "admin")
        return call

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in b"".join(self.written).splitlines()]

    def test_a_line(self) -> None:
        call = self.call()
        self.clock.advance(0.25)
        self.log.add(call, 200, 17)
        self.log.flush()
        self.assertEqual(
            self.lines,
            [
                {
                    "time": "2027-01-15T08:00:00.250000Z",
                    "type": "access",
                    "request": "id-1",
                    "address": "192.0.2.1",
                    "caller": "admin",
                    "method": "GET",
                    "path": "/api/x",
                    "status": 200,
                    "bytes": 17,
                    "ms": 250.0,
                }
            ],
        )
        self.assertTrue(self.written[0].endswith(b"\n"))

    def test_no_query_and_no_header(self) -> None:
        self.log.add(self.call(), 200, 0)
        self.log.add(self.call("", b"/%ff"), 400, 0)
        self.log.flush()
        self.assertNotIn(b"secret", b"".join(self.written))
        self.assertEqual([line["path"] for line in self.lines], ["/api/x", "/%ff"])

    def test_nobody_known(self) -> None:
        call = self.call()
        call.caller = None
        self.log.add(call, 403, 0)
        self.log.flush()
        self.assertEqual(self.lines[0]["caller"], "")

    def test_a_path_cannot_forge_a_line(self) -> None:
        self.log.add(self.call('/x"}\n{"type":"access"'), 404, 0)
        self.log.flush()
        self.assertEqual(len(self.lines), 1)

    def test_written_every_half_second_in_one_piece(self) -> None:
        self.log.start()
        for _ in range(3):
            self.log.add(self.call(), 200, 0)
        self.clock.advance(0.4)
        self.assertEqual(self.written, [])
        self.clock.advance(0.1)
        self.assertEqual((len(self.written), len(self.lines)), (1, 3))
        self.clock.advance(5)
        self.assertEqual(len(self.written), 1)
        self.log.add(self.call(), 200, 0)
        self.log.stop()
        self.assertEqual(len(self.lines), 4)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_flood_is_counted_and_not_kept(self) -> None:
        self.patch(access_log, "MAX_PENDING", 5)
        for _ in range(8):
            self.log.add(self.call(), 200, 0)
        self.log.flush()
        self.assertEqual(len(self.lines), 6)
        self.assertEqual(self.lines[-1], {"type": "access", "dropped": 3})
        self.log.add(self.call(), 200, 0)
        self.log.flush()
        self.assertEqual(len(self.lines), 7)

    def test_a_full_disk_does_not_end_the_log(self) -> None:
        full = True

        def write(block: bytes) -> None:
            if full:
                raise OSError(28, "No space left on device")
            self.written.append(block)

        log = AccessLog(self.clock, write)
        log.start()
        log.add(self.call(), 200, 0)
        log.add(self.call(), 200, 0)
        self.clock.advance(0.5)
        full = False
        log.add(self.call(), 200, 0)
        self.clock.advance(0.5)
        self.assertEqual([line.get("dropped") for line in self.lines], [None, 2])
        log.stop()
