import threading
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, ensureDeferred
from twisted.trial.unittest import TestCase

from appliance.threads import Threads


class ThreadsTests(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.threads = Threads(reactor)

    async def test_a_result_from_another_thread(self) -> None:
        def work(number: int, *, more: int) -> tuple[int, int]:
            return number + more, threading.get_ident()

        result, ident = await self.threads.run(work, 1, more=2)
        self.assertEqual(result, 3)
        self.assertNotEqual(ident, threading.get_ident())

    async def test_what_it_raises(self) -> None:
        def fail() -> None:
            raise LookupError("x")

        with self.assertRaises(LookupError):
            await self.threads.run(fail)

    async def test_many_at_once(self) -> None:
        running = [ensureDeferred(self.threads.run(pow, number, 2)) for number in range(200)]
        self.assertEqual([await each for each in running], [number**2 for number in range(200)])

    async def test_cancelling_ends_the_wait_and_not_the_work(self) -> None:
        go, done = threading.Event(), threading.Event()

        def work() -> None:
            go.wait(20)
            done.set()

        waiting: Any = ensureDeferred(self.threads.run(work))
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting
        self.assertFalse(done.is_set())
        go.set()
        await self.threads.run(done.wait, 20)
        self.assertTrue(done.is_set())
