from twisted.internet.defer import Deferred
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
