"""When the interfaces are read again."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from appliance.host.errors import Unavailable
from appliance.host.network.interfaces import STATISTICS_SECONDS, STORM_SECONDS, Interfaces
from appliance.host.network.model import Interface, Statistics


def interface(name: str, received: int = 0) -> Interface:
    return Interface(name, 1, "", 1500, "up", "up", "veth", [], Statistics(received, 0, 0, 0, 0, 0, 0, 0), "")


class Threads:
    """Runs work when `go` is called, as a thread would end some time."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    async def run(self, function: Callable[[], Any]) -> Any:
        done: Deferred[Any] = Deferred()
        self.waiting.append((function, done))
        return await done

    def go(self) -> None:
        (function, done) = self.waiting.pop(0)
        try:
            result = function()
        except Exception as error:
            done.errback(error)
        else:
            done.callback(result)


class Notices:
    """Notices that are there when a test says so."""

    def __init__(self) -> None:
        self.changed = False
        self.closed = False

    def look(self) -> bool:
        changed, self.changed = self.changed, False
        return changed

    def close(self) -> None:
        self.closed = True


class FreshnessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.threads = Threads()
        self.notices = Notices()
        self.kernel = [interface("eth0")]
        self.reads = 0
        threads: Any = self.threads
        self.interfaces = Interfaces(self.clock, threads, read=self.read, listen=lambda: self.notices)
        self.interfaces.start()

    def read(self) -> list[Interface]:
        self.reads += 1
        return list(self.kernel)

    def ask(self) -> Deferred[list[Interface]]:
        return Deferred.fromCoroutine(self.interfaces.snapshot())

    def answer(self) -> list[Interface]:
        asked = self.ask()
        while self.threads.waiting:
            self.threads.go()
        return self.successResultOf(asked)

    def test_it_is_the_same_object_while_nothing_is_different(self) -> None:
        first = self.answer()
        assert self.answer() is first
        assert self.reads == 1
        self.clock.advance(STATISTICS_SECONDS)
        assert self.answer() is first
        assert self.reads == 2

    def test_statistics_do_not_grow_old(self) -> None:
        self.answer()
        self.kernel = [interface("eth0", received=7)]
        self.clock.advance(STATISTICS_SECONDS - 0.1)
        assert self.answer()[0].statistics.rx_bytes == 0
        self.clock.advance(0.1)
        assert self.answer()[0].statistics.rx_bytes == 7

    def test_a_change_is_seen_at_once(self) -> None:
        self.answer()
        self.kernel = [interface("eth1")]
        self.notices.changed = True
        assert [each.name for each in self.answer()] == ["eth1"]

    def test_many_wait_for_one_reading(self) -> None:
        asked = [self.ask() for _ in range(5)]
        self.threads.go()
        assert [self.successResultOf(each)[0].name for each in asked] == ["eth0"] * 5
        assert self.reads == 1

    def test_what_changes_during_a_reading_is_read_again(self) -> None:
        asked = self.ask()
        self.notices.changed = True
        self.threads.go()
        self.assertNoResult(asked)
        self.kernel = [interface("eth1")]
        self.threads.go()
        assert [each.name for each in self.successResultOf(asked)] == ["eth1"]

    def test_who_asks_after_a_change_gets_no_reading_from_before(self) -> None:
        early = self.ask()
        self.notices.changed = True
        late = self.ask()  # notices it, while the first reading is under way
        self.threads.go()
        self.assertNoResult(late)
        self.threads.go()
        assert self.successResultOf(late) is self.successResultOf(early)

    def test_a_storm_ends_in_an_answer_and_then_in_calm(self) -> None:
        asked = self.ask()
        for _ in range(3):
            self.notices.changed = True
            self.threads.go()
        self.successResultOf(asked)
        assert self.reads == 3
        # The next one waits a moment first, and what it reads then is kept.
        asked = self.ask()
        assert not self.threads.waiting
        self.kernel = [interface("eth1")]
        self.clock.advance(STORM_SECONDS)
        self.threads.go()
        assert [each.name for each in self.successResultOf(asked)] == ["eth1"]
        assert self.reads == 4
        self.answer()
        assert self.reads == 4

    def test_a_failure_is_told_to_who_waits_and_then_over(self) -> None:
        def fail() -> list[Interface]:
            raise Unavailable("no")

        self.interfaces._read = fail
        asked = self.ask()
        self.threads.go()
        self.failureResultOf(asked, Unavailable)
        self.interfaces._read = self.read
        assert self.answer()[0].name == "eth0"

    def test_a_clock_that_was_set_back(self) -> None:
        self.answer()
        self.clock.rightNow -= 500
        self.answer()
        assert self.reads == 2

    def test_without_notices_it_is_read_each_time(self) -> None:
        self.interfaces.stop()
        assert self.notices.closed
        self.answer()
        self.answer()
        assert self.reads == 2
