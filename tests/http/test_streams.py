from collections import deque

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from appliance.http.call import Call
from appliance.http.endpoints import Routes
from appliance.http.errors import HttpError
from appliance.http.replies import StreamReply
from appliance.identity.caller import administrator
from tests.support.site import SiteTestCase, head
from tests.support.wire import Incomplete


class Spring:
    """A source that gives what the test lets it give."""

    def __init__(self) -> None:
        self.pieces: deque[bytes | Exception] = deque()
        self.reads = 0
        self.closed = 0
        self._waiting: Deferred[bytes] | None = None

    async def read(self) -> bytes:
        self.reads += 1
        if not self.pieces:
            self._waiting = Deferred()
            return await self._waiting
        return self._next()

    def close(self) -> None:
        self.closed += 1

    def give(self, *pieces: bytes | Exception) -> None:
        self.pieces.extend(pieces)
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            if isinstance(self.pieces[0], Exception):
                waiting.errback(Failure(self.pieces.popleft()))
            else:
                waiting.callback(self._next())

    def _next(self) -> bytes:
        piece = self.pieces.popleft()
        if isinstance(piece, Exception):
            raise piece
        return piece


class Dry(Exception):
    """A failure that the surface knows."""


class Springs:
    routes = Routes(tag="Springs")

    def __init__(self, spring: Spring) -> None:
        self.spring = spring

    @routes.get("/spring", who=administrator)
    async def flow(self, call: Call) -> StreamReply:
        return StreamReply(self.spring, "text/plain", {"Filename": "spring"})

    @routes.get("/now", who=administrator)
    async def now(self, call: Call) -> str:
        return "now"


def translate(error: Exception) -> HttpError | None:
    return HttpError(503) if isinstance(error, Dry) else None


class StreamTests(SiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.spring = Spring()
        self.serve(Springs(self.spring), translate=translate)
        self.client = self.connect()

    def test_pieces_go_out_as_they_come(self) -> None:
        self.client.send(head("GET", "/spring"), head("GET", "/now"))
        self.spring.give(b"one ")
        self.assertTrue(self.client.unread.endswith(b"\r\n\r\n4\r\none \r\n"))
        self.assertRaises(Incomplete, self.client.response)
        self.spring.give(b"two", b"")
        response = self.client.response()
        self.assertEqual((response.status, response.headers["filename"], response.body), (200, "spring", b"one two"))
        self.assertNotIn("content-length", response.headers)
        self.assertEqual(self.client.response().json, "now")
        self.assertEqual(self.spring.closed, 1)
        self.assertEqual([line["bytes"] for line in self.access_lines()], [7, 5])

    def test_an_empty_stream(self) -> None:
        self.client.send(head("GET", "/spring"))
        self.spring.give(b"")
        self.assertEqual(self.client.response().body, b"")

    def test_an_old_client_reads_to_the_end_of_the_connection(self) -> None:
        self.client.send(head("GET", "/spring", version="HTTP/1.0"))
        self.spring.give(b"one ", b"two", b"")
        start, _, body = self.client.unread.partition(b"\r\n\r\n")
        self.assertNotIn(b"Transfer-Encoding", start)
        self.assertIn(b"Connection: close", start)
        self.assertEqual(body, b"one two")
        self.assertTrue(self.client.is_closed)

    def test_a_slow_client_is_not_read_for(self) -> None:
        self.client.send(head("GET", "/spring"))
        self.client.channel.pauseProducing()
        self.spring.give(b"asked for already", b"not asked for")
        reads = self.spring.reads
        self.wait(5)
        self.assertEqual((self.spring.reads, len(self.spring.pieces)), (reads, 1))
        self.client.channel.resumeProducing()
        self.assertTrue(self.client.unread.endswith(b"not asked for\r\n"))
        self.spring.give(b"")

    def test_a_client_that_goes_ends_the_source(self) -> None:
        self.client.send(head("GET", "/spring"))
        self.spring.give(b"one")
        self.client.leave()
        self.assertEqual(self.spring.closed, 1)
        self.assertEqual([line["status"] for line in self.access_lines()], [499])

    def test_a_client_that_goes_while_it_is_slow_ends_the_source(self) -> None:
        self.client.send(head("GET", "/spring"))
        self.client.channel.pauseProducing()
        self.spring.give(b"one")
        self.client.channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.spring.closed, 1)

    def test_a_source_that_fails_cuts_the_connection(self) -> None:
        for error, logged in ((Dry(), 0), (ZeroDivisionError(), 1)):
            client = self.connect()
            client.send(head("GET", "/spring"))
            self.spring.give(b"one", error)
            self.assertTrue(client.transport.aborted)
            self.assertRaises(Incomplete, client.response)
            self.assertEqual(len(self.flushLoggedErrors(type(error))), logged)
            client.leave()
        self.assertEqual(self.spring.closed, 2)

    def test_a_stop_does_not_wait_for_what_has_no_end(self) -> None:
        self.client.send(head("GET", "/spring"))
        self.spring.give(b"one")
        self.client.channel.drain()
        self.assertTrue(self.client.transport.aborted)
        self.client.leave()
        self.assertEqual(self.spring.closed, 1)
