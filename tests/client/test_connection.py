"""Messages as an iteration that holds the server back, without a server."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from appliance.client.connection import WAITING_LIMIT, Connection, End
from appliance.client.errors import ClientError


class Transport:
    """Knows whether it reads."""

    reading = True

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True


class ConnectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = Connection()
        self.transport = self.connection.transport = Transport()

    def next(self) -> "Deferred[Any]":
        return Deferred.fromCoroutine(self.connection.__anext__())

    def test_messages_come_in_order_and_wait_until_they_are_taken(self) -> None:
        self.connection.onMessage(b'{"type":"1"}', False)
        self.connection.onMessage(b'{"type":"2"}', False)
        self.assertEqual(self.successResultOf(self.next()).type, "1")
        self.assertEqual(self.successResultOf(self.next()).type, "2")
        third = self.next()
        self.assertNoResult(third)
        self.connection.onMessage(b'{"type":"3"}', False)
        self.assertEqual(self.successResultOf(third).type, "3")

    def test_too_many_that_wait_hold_the_server_back(self) -> None:
        for _ in range(WAITING_LIMIT):
            self.connection.onMessage(b"{}", False)
        self.assertFalse(self.transport.reading)
        while not self.transport.reading:
            self.successResultOf(self.next())
        self.assertLess(len(self.connection._messages), WAITING_LIMIT)

    def test_the_end_comes_after_what_came_before(self) -> None:
        self.connection.onMessage(b"{}", False)
        self.connection.onClose(True, 1000, "bye")
        self.assertEqual(self.successResultOf(self.next()).type, "")
        self.failureResultOf(self.next(), StopAsyncIteration)
        self.assertEqual(self.connection.end, End(1000, "bye"))
        self.assertEqual(str(self.connection.end), "1000: bye")

    def test_the_end_is_told_to_who_waits(self) -> None:
        waiting = self.next()
        self.connection.onClose(False, None, None)
        self.failureResultOf(waiting, StopAsyncIteration)
        self.assertEqual(str(self.connection.end), "1006")

    def test_what_is_no_message(self) -> None:
        deep = b'{"a":' + b"[" * 100_000
        for raw in (b"", b"[]", b"\xff", b"no json", b'{"type":7}', b'{"type":"\\ud800"}', deep):
            self.connection.onMessage(raw, False)
            self.failureResultOf(self.next(), ClientError)
