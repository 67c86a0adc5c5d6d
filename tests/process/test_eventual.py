import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from appliance.process.eventual import Eventual, Tasks


class EventualTests(SynchronousTestCase):
    def test_all_get_the_one_result(self) -> None:
        eventual: Eventual[int] = Eventual()
        early = eventual.wait()
        self.assertNoResult(early)
        self.assertFalse(eventual.known)
        eventual.set(1)
        eventual.set(2)
        eventual.refuse(ValueError())
        self.assertEqual((self.successResultOf(early), self.successResultOf(eventual.wait())), (1, 1))
        self.assertTrue(eventual.known)

    def test_all_get_the_one_failure(self) -> None:
        eventual: Eventual[int] = Eventual()
        early = eventual.wait()
        eventual.refuse(ValueError())
        eventual.set(1)
        for waiter in (early, eventual.wait(), eventual.wait()):
            self.failureResultOf(waiter, ValueError)

    def test_cancelling_one_leaves_the_others(self) -> None:
        eventual: Eventual[int] = Eventual()
        one, other = eventual.wait(), eventual.wait()
        one.cancel()
        self.failureResultOf(one, CancelledError)
        eventual.set(1)
        self.assertEqual(self.successResultOf(other), 1)

    def test_none_is_a_result(self) -> None:
        eventual: Eventual[None] = Eventual()
        eventual.set(None)
        self.assertIsNone(self.successResultOf(eventual.wait()))


class TasksTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tasks = Tasks()
        self.gate: Deferred[int] = Deferred()

    async def work(self) -> int:
        return await self.gate

    def test_result(self) -> None:
        waiter = self.tasks.start(self.work(), "working")
        finished = self.tasks.finished()
        self.assertNoResult(finished)
        self.gate.callback(3)
        self.assertEqual(self.successResultOf(waiter), 3)
        self.successResultOf(finished)
        self.successResultOf(self.tasks.finished())

    def test_failure_goes_to_the_waiter(self) -> None:
        waiter = self.tasks.start(self.work(), "working")
        self.gate.errback(ValueError())
        self.failureResultOf(waiter, ValueError)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_work_goes_on_without_its_waiter(self) -> None:
        done = []

        async def work() -> None:
            done.append(await self.gate)

        waiter = self.tasks.start(work(), "working")
        waiter.cancel()
        self.failureResultOf(waiter, CancelledError)
        self.gate.callback(3)
        self.assertEqual(done, [3])

    def test_failure_without_waiter_is_logged(self) -> None:
        waiter = self.tasks.start(self.work(), "working")
        waiter.cancel()
        self.failureResultOf(waiter, CancelledError)
        self.gate.errback(ValueError())
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_background_failure_is_logged(self) -> None:
        self.tasks.background(self.work(), "working")
        self.gate.errback(ValueError())
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_cancel(self) -> None:
        waiter = self.tasks.start(self.work(), "working")
        self.tasks.background(self.work(), "working")
        self.tasks.cancel()
        self.failureResultOf(waiter, CancelledError)
        self.successResultOf(self.tasks.finished())
        self.assertEqual(self.flushLoggedErrors(), [])


def test_a_coroutine_that_ends_at_once() -> None:
    async def work() -> str:
        return "done"

    results: list[str] = []
    _ = Tasks().start(work(), "working").addCallback(results.append)
    assert results == ["done"]


@pytest.mark.parametrize("value", [0, "", None, False])
def test_empty_values_are_results(value: object) -> None:
    eventual: Eventual[object] = Eventual()
    eventual.set(value)
    results: list[object] = []
    _ = eventual.wait().addCallback(results.append)
    assert results == [value]
