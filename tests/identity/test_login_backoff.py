import pytest
from twisted.internet.task import Clock

from appliance.identity import login_backoff
from appliance.identity.login_backoff import FREE, LONGEST_WAIT, WINDOW, LoginBackoff

HERE, THERE = "192.0.2.1", "198.51.100.1"


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.advance(1_000_000)
    return clock


@pytest.fixture
def backoff(clock: Clock) -> LoginBackoff:
    return LoginBackoff(clock)


def fail(backoff: LoginBackoff, times: int, user: str = "ann", address: str = HERE) -> None:
    for _ in range(times):
        backoff.failed(user, address)


def test_the_fifth_failure_is_the_first_that_costs(backoff: LoginBackoff) -> None:
    fail(backoff, 4)
    assert backoff.retry_after("ann", HERE) == 0
    fail(backoff, 1)
    assert backoff.retry_after("ann", HERE) == 1


def test_waits_grow_up_to_a_minute(backoff: LoginBackoff, clock: Clock) -> None:
    fail(backoff, FREE)
    waits = []
    for _ in range(9):
        fail(backoff, 1)
        waits.append(backoff.retry_after("ann", HERE))
        clock.advance(waits[-1] - 0.5)
        assert backoff.retry_after("ann", HERE) == 0.5
        clock.advance(0.5)
        assert backoff.retry_after("ann", HERE) == 0
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_any_number_of_failures(backoff: LoginBackoff) -> None:
    fail(backoff, 3000)
    assert backoff.retry_after("ann", HERE) == LONGEST_WAIT


def test_nobody_waits_for_what_happens_elsewhere(backoff: LoginBackoff) -> None:
    fail(backoff, 100)
    assert backoff.retry_after("ann", THERE) == 0


def test_an_address_waits_whichever_users_it_tried(backoff: LoginBackoff) -> None:
    for number in range(5):
        fail(backoff, 1, f"user{number}")
    assert backoff.retry_after("another", HERE) == 1


def test_an_ipv6_customer_is_one_address(backoff: LoginBackoff) -> None:
    for number in range(5):
        fail(backoff, 1, address=f"2001:db8::{number}")
    assert backoff.retry_after("ann", "2001:db8::ffff") == 1
    assert backoff.retry_after("ann", "2001:db8:0:1::1") == 0


def test_a_success_does_not_pay_for_guesses_at_others(backoff: LoginBackoff) -> None:
    fail(backoff, 5, "root")
    backoff.succeeded("ann", HERE)
    assert backoff.retry_after("ann", HERE) == 1


def test_a_success_clears_the_pair(backoff: LoginBackoff, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(backoff, 5)
    backoff._addresses.forget(HERE)  # what counts against the pair alone
    assert backoff.retry_after("ann", HERE) == 1
    backoff.succeeded("ann", HERE)
    assert backoff.retry_after("ann", HERE) == 0


def test_after_a_quarter_of_an_hour_it_begins_anew(backoff: LoginBackoff, clock: Clock) -> None:
    fail(backoff, 4)
    clock.advance(WINDOW + 1)
    fail(backoff, 4)
    assert backoff.retry_after("ann", HERE) == 0


def test_a_clock_set_back_locks_nobody_out(backoff: LoginBackoff, clock: Clock) -> None:
    fail(backoff, 50)
    clock.rightNow -= 86400
    assert backoff.retry_after("ann", HERE) == 0


def test_memory_is_bounded_and_invented_users_do_not_make_an_address_forgotten(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_backoff, "MAX_KEYS", 10)
    backoff = LoginBackoff(clock)
    for number in range(100):
        fail(backoff, 1, f"u{number}" * 1000)
    assert len(backoff._pairs) == 10
    assert all(len(user) <= 64 for user, _ in backoff._pairs._failures)
    assert backoff.retry_after("u", HERE) == LONGEST_WAIT
    for number in range(100):
        fail(backoff, 1, address=f"10.0.0.{number}")
    assert len(backoff._addresses) == 10
