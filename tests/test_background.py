import gc
import weakref

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from appliance.background import Background


class RepeatTests(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.background = Background()
        self.begun: list[float] = []

    def repeat(self, *outcomes: "Deferred[None] | Exception | None") -> None:
        """Work that has these outcomes in turn and then always succeeds, after an hour and then daily."""
        left = list(outcomes)

        async def work() -> None:
            self.begun.append(self.clock.seconds())
            outcome = left.pop(0) if left else None
            if isinstance(outcome, Exception):
                raise outcome
            if outcome is not None:
                await outcome

        self.background.repeat("counting", self.clock, work, delay=60, interval=1440)

    async def test_after_the_delay_and_then_at_intervals(self) -> None:
        self.repeat()
        self.clock.advance(59)
        assert self.begun == []
        self.clock.pump([1, 1439, 1, 1440])
        assert self.begun == [60, 1500, 2940]
        await self.background.stop()
        assert self.clock.getDelayedCalls() == []

    async def test_the_interval_begins_when_the_work_has_ended(self) -> None:
        slow: Deferred[None] = Deferred()
        self.repeat(slow)
        self.clock.pump([60, 5000])
        assert self.begun == [60]
        slow.callback(None)
        self.clock.advance(1440)
        assert self.begun == [60, 6500]
        await self.background.stop()

    async def test_a_failure_is_logged_and_the_next_time_comes(self) -> None:
        self.repeat(ZeroDivisionError("once"))
        self.clock.pump([60, 1440])
        assert self.begun == [60, 1500]
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
        await self.background.stop()

    async def test_stop_ends_it_in_its_work(self) -> None:
        slow: Deferred[None] = Deferred()
        self.repeat(slow)
        self.clock.advance(60)
        await self.background.stop()
        assert slow.called and self.clock.getDelayedCalls() == []
        self.repeat()
        assert self.clock.getDelayedCalls() == []


class BackgroundTests(TestCase):
    def setUp(self) -> None:
        self.background = Background()
        self.ended: list[str] = []

    async def work(self, gate: "Deferred[object]", name: str = "work") -> str:
        try:
            await gate
        except CancelledError:
            self.ended.append(f"{name} cancelled")
            raise
        self.ended.append(name)
        return "a result nobody wants"

    def test_work_runs_at_once_and_to_its_end(self) -> None:
        gate: Deferred[object] = Deferred()
        self.background.spawn("work", self.work(gate))
        done = self.background.wait()
        self.assertFalse(done.called)
        gate.callback(None)
        self.assertTrue(done.called)
        self.assertEqual(self.ended, ["work"])

    def test_a_failure_is_logged_with_its_name(self) -> None:
        for gate in (Deferred[object](), Deferred[object]()):
            self.background.spawn("counting", self.work(gate))
            gate.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertTrue(self.background.wait().called)

    def test_what_is_owned_is_looked_after_as_well(self) -> None:
        task: Deferred[None] = Deferred()
        self.background.own("task", task)
        task.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        finished: Deferred[None] = Deferred()
        finished.callback(None)
        self.background.own("finished", finished)
        self.assertTrue(self.background.wait().called)

    def test_wait_knows_only_what_runs_already(self) -> None:
        first, second = Deferred[object](), Deferred[object]()
        self.background.spawn("first", self.work(first, "first"))
        done = self.background.wait()
        self.background.spawn("second", self.work(second, "second"))
        first.callback(None)
        self.assertTrue(done.called)
        self.assertFalse(self.background.wait().called)
        second.callback(None)

    def test_stop_cancels_everything_and_says_nothing_of_it(self) -> None:
        for name in ("a", "b"):
            self.background.spawn(name, self.work(Deferred(), name))
        self.assertTrue(self.background.stop().called)
        self.assertEqual(sorted(self.ended), ["a cancelled", "b cancelled"])

    def test_stop_waits_for_what_cleans_up(self) -> None:
        cleaning: Deferred[None] = Deferred()

        async def careful() -> None:
            try:
                await Deferred()
            finally:
                await cleaning
                self.ended.append("cleaned")

        self.background.spawn("careful", careful())
        stopped = self.background.stop()
        self.assertFalse(stopped.called)
        cleaning.callback(None)
        self.assertTrue(stopped.called)
        self.assertEqual(self.ended, ["cleaned"])

    def test_nothing_begins_after_stop(self) -> None:
        self.assertTrue(self.background.stop().called)
        begun: list[str] = []

        async def late() -> None:
            begun.append("late")

        self.background.spawn("late", late())
        self.assertEqual(begun, [])

    def test_giving_up_the_wait_leaves_the_work_alone(self) -> None:
        gate: Deferred[object] = Deferred()
        clock = Clock()
        self.background.spawn("work", self.work(gate))
        waiting = self.background.wait().addTimeout(5, clock, onTimeoutCancel=lambda result, seconds: "gave up")
        clock.advance(5)
        self.assertEqual(self.successResultOf(waiting), "gave up")
        gate.callback(None)
        self.assertEqual(self.ended, ["work"])


class CancelledTests(TestCase):
    def test_what_is_cancelled_does_not_hold_who_cancelled_it(self) -> None:
        class Held:
            """Stands in the frames of the cancelling, as a connection that has ended does."""

        background = Background()

        async def work() -> None:
            await Deferred()

        def cancel(task: "Deferred[None]") -> "weakref.ref[Held]":
            held = Held()
            task.cancel()
            return weakref.ref(held)

        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        task = Deferred.fromCoroutine(work())
        background.own("waiting", task)
        assert cancel(task)() is None
