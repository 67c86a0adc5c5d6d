"""Work that is done once for all who ask."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from appliance.host.shared import Fresh, Recent, Shared


class SharedTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.runs: list[Deferred[str]] = []

    async def work(self) -> str:
        self.runs.append(Deferred())
        return await self.runs[-1]


class SharedTests(SharedTestCase):
    def test_one_run_for_all_who_ask_meanwhile(self) -> None:
        shared = Shared(self.work)
        first, second = shared.result(), shared.result()
        self.assertEqual(len(self.runs), 1)
        self.runs[0].callback("found")
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), ("found", "found"))
        third = shared.result()
        self.assertEqual(len(self.runs), 2)
        self.assertNoResult(third)

    def test_who_goes_takes_nothing_from_the_others(self) -> None:
        shared = Shared(self.work)
        first, second = shared.result(), shared.result()
        _ = first.addErrback(lambda failure: None)
        first.cancel()
        self.runs[0].callback("found")
        self.assertEqual(self.successResultOf(second), "found")

    def test_a_failure_is_for_all_who_waited(self) -> None:
        shared = Shared(self.work)
        waiting = [shared.result() for _ in range(3)]
        self.runs[0].errback(ValueError())
        for each in waiting:
            self.failureResultOf(each, ValueError)
        self.assertNoResult(shared.result())
        self.assertEqual(len(self.runs), 2)


class FreshTests(SharedTestCase):
    def test_nobody_gets_what_began_before_he_asked(self) -> None:
        fresh = Fresh(self.work)
        first, second, third = fresh.result(), fresh.result(), fresh.result()
        self.assertEqual(len(self.runs), 1)
        self.runs[0].callback("before")
        self.assertEqual(self.successResultOf(first), "before")
        self.assertNoResult(second)
        self.assertEqual(len(self.runs), 2)
        self.runs[1].callback("after")
        self.assertEqual((self.successResultOf(second), self.successResultOf(third)), ("after", "after"))
        fourth = fresh.result()
        self.assertEqual(len(self.runs), 3)
        self.assertNoResult(fourth)

    def test_who_goes_takes_nothing_from_the_others(self) -> None:
        fresh = Fresh(self.work)
        waiting = [fresh.result() for _ in range(3)]
        for each in waiting[:2]:
            _ = each.addErrback(lambda failure: None)
            each.cancel()
        self.runs[0].callback("one")
        self.runs[1].callback("two")
        self.assertEqual(self.successResultOf(waiting[2]), "two")

    def test_a_failure_is_for_those_of_its_run(self) -> None:
        fresh = Fresh(self.work)
        first, second = fresh.result(), fresh.result()
        self.runs[0].errback(ValueError())
        self.failureResultOf(first, ValueError)
        self.runs[1].callback("found")
        self.assertEqual(self.successResultOf(second), "found")


class RecentTests(SharedTestCase):
    def ask(self, recent: Recent[str]) -> Deferred[str]:
        return Deferred.fromCoroutine(recent.get())

    def test_kept_for_so_long(self) -> None:
        recent = Recent(self.clock, self.work, 2)
        first = self.ask(recent)
        self.clock.advance(1)
        self.runs[0].callback("one")
        self.assertEqual(self.successResultOf(first), "one")
        self.clock.advance(0.5)
        self.assertEqual(self.successResultOf(self.ask(recent)), "one")
        self.clock.advance(0.5)  # two seconds after it was asked for, not after it was known
        self.assertNoResult(self.ask(recent))
        self.assertEqual(len(self.runs), 2)

    def test_a_failure_is_not_kept(self) -> None:
        recent = Recent(self.clock, self.work, 2)
        first = self.ask(recent)
        self.runs[0].errback(ValueError())
        self.failureResultOf(first, ValueError)
        self.assertNoResult(self.ask(recent))

    def test_a_clock_that_was_set_back(self) -> None:
        recent = Recent(self.clock, self.work, 2)
        self.clock.advance(100)
        first = self.ask(recent)
        self.runs[0].callback("one")
        self.successResultOf(first)
        self.clock.advance(-50)
        self.assertNoResult(self.ask(recent))
