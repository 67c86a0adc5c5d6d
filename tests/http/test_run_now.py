from collections.abc import Awaitable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from appliance.http.run_now import run_now


async def add(*terms: "Awaitable[int] | int") -> int:
    total = 0
    for term in terms:
        total += term if isinstance(term, int) else await term
    return total


class RunNowTests(SynchronousTestCase):
    def test_what_does_not_wait_is_returned(self) -> None:
        self.assertEqual(run_now(add(1, 2)), 3)
        self.assertEqual(run_now(add(succeed(1), 2, succeed(3))), 6)

    def test_what_is_raised_at_once(self) -> None:
        async def fail() -> None:
            raise LookupError("x")

        with self.assertRaises(LookupError):
            run_now(fail())

    def test_what_waits_once_or_often(self) -> None:
        waits: list[Deferred[int]] = [Deferred() for _ in range(3)]
        running = run_now(add(1, *waits))
        assert isinstance(running, Deferred)
        for number, wait in enumerate(waits):
            self.assertNoResult(running)
            wait.callback(number)
        self.assertEqual(self.successResultOf(running), 4)

    def test_failures_reach_the_coroutine(self) -> None:
        async def careful(wait: "Deferred[None]") -> str:
            try:
                await wait
            except LookupError:
                return "caught"
            return "nothing"

        wait: Deferred[None] = Deferred()
        running = run_now(careful(wait))
        assert isinstance(running, Deferred)
        wait.errback(LookupError())
        self.assertEqual(self.successResultOf(running), "caught")

    def test_failures_after_a_wait(self) -> None:
        wait: Deferred[int] = Deferred()
        running = run_now(add(wait))
        assert isinstance(running, Deferred)
        wait.errback(LookupError())
        self.failureResultOf(running, LookupError)

    def test_cancelling_cancels_what_is_waited_for_and_runs_finally(self) -> None:
        ended: list[str] = []

        async def work(first: "Deferred[None]", second: "Deferred[None]") -> None:
            try:
                await first
                await second
            finally:
                ended.append("finally")

        for at in (0, 1):
            waits: list[Deferred[None]] = [Deferred(), Deferred()]
            running = run_now(work(*waits))
            assert isinstance(running, Deferred)
            if at:
                waits[0].callback(None)
            running.cancel()
            self.failureResultOf(running, CancelledError)
            self.failureResultOf(
                waits[at].addErrback(lambda failure: failure) if not waits[at].called else _failed(), CancelledError
            )
        self.assertEqual(ended, ["finally"] * 2)

    def test_a_coroutine_that_survives_its_cancellation(self) -> None:
        async def stubborn(wait: "Deferred[None]") -> str:
            try:
                await wait
            except CancelledError:
                return "survived"
            return "nothing"

        running: Any = run_now(stubborn(Deferred()))
        running.cancel()
        self.assertEqual(self.successResultOf(running), "survived")

    def test_waiting_for_a_coroutine_that_waits(self) -> None:
        wait: Deferred[int] = Deferred()
        running = run_now(add(add(add(wait), 1), 1))
        assert isinstance(running, Deferred)
        wait.callback(1)
        self.assertEqual(self.successResultOf(running), 3)


def _failed() -> "Deferred[None]":
    failed: Deferred[None] = Deferred()
    failed.cancel()
    return failed


def test_nothing_is_left_unawaited() -> None:
    with pytest.raises(LookupError):
        run_now(add(_bad()))


async def _bad() -> int:
    raise LookupError
