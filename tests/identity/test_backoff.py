import pytest
from twisted.internet.task import Clock

from appliance.identity import backoff
from appliance.identity.backoff import WAIT, WINDOW, Backoff


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.advance(1_000_000)
    return clock


def fail(guard: Backoff, times: int, address: str = "a") -> list[bool]:
    return [guard.failed(address) for _ in range(times)]


def test_the_first_failures_cost_nothing(clock: Clock) -> None:
    guard = Backoff(clock, 20)
    assert fail(guard, 20) == [False] * 20
    assert not guard.blocks("a")
    assert guard.failed("a")  # the one with which it begins
    assert guard.blocks("a")
    assert not guard.failed("a")


def test_it_ends_a_second_after_the_last_failure(clock: Clock) -> None:
    guard = Backoff(clock, 3)
    fail(guard, 4)
    clock.advance(WAIT - 0.01)
    assert guard.blocks("a")
    clock.advance(0.01)
    assert not guard.blocks("a")
    guard.failed("a")
    assert guard.blocks("a")


def test_being_refused_unchecked_does_not_prolong_it(clock: Clock) -> None:
    guard = Backoff(clock, 3)
    fail(guard, 4)
    for _ in range(8):
        clock.advance(WAIT / 8)
        guard.blocks("a")
    assert not guard.blocks("a")


def test_nobody_else_waits(clock: Clock) -> None:
    guard = Backoff(clock, 3)
    fail(guard, 30)
    assert not guard.blocks("b")


def test_old_failures_are_forgotten(clock: Clock) -> None:
    guard = Backoff(clock, 3)
    fail(guard, 2)
    clock.advance(WINDOW + 1)
    assert fail(guard, 2) == [False, False]
    assert not guard.blocks("a")
    fail(guard, 5)
    clock.advance(WINDOW + 1)
    assert not guard.blocks("a")


def test_it_can_be_switched_off(clock: Clock) -> None:
    guard = Backoff(clock, 0)
    assert fail(guard, 100) == [False] * 100
    assert not guard.blocks("a")


def test_a_clock_set_back_locks_nobody_out(clock: Clock) -> None:
    guard = Backoff(clock, 3)
    fail(guard, 4)
    clock.rightNow -= 86400
    assert not guard.blocks("a")
    assert fail(guard, 4) == [False, False, False, True]
    assert guard.blocks("a")


def test_memory_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "MAX_ADDRESSES", 10)
    guard = Backoff(clock, 1)
    for number in range(100):
        fail(guard, 2, str(number))
    assert len(guard._failures) == 10
    assert guard.blocks("99") and not guard.blocks("0")


def test_who_fails_again_is_not_the_oldest(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "MAX_ADDRESSES", 2)
    guard = Backoff(clock, 1)
    fail(guard, 2, "a")
    fail(guard, 2, "b")
    clock.advance(WINDOW + 1)
    fail(guard, 2, "a")
    fail(guard, 2, "c")
    assert guard.blocks("a") and not guard.blocks("b")
