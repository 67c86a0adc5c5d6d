"""How long who guesses has to wait."""

from twisted.internet.task import Clock

from appliance.rpc.pauses import MAX_KEYS, LoginPauses, Pauses


def test_five_failures_cost_nothing_and_each_further_one_doubles() -> None:
    clock = Clock()
    pauses: Pauses[str] = Pauses(clock)
    for _ in range(4):
        pauses.failed("x")
        assert pauses.left("x") == 0
    found = []
    for _ in range(10):
        pauses.failed("x")
        found.append(pauses.left("x"))
        clock.advance(found[-1])
        assert pauses.left("x") == 0
    assert found == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_the_pause_begins_when_the_refusal_is_told() -> None:
    clock = Clock()
    pauses: Pauses[str] = Pauses(clock)
    for _ in range(5):
        pauses.failed("x")
    clock.advance(2)
    pauses.told("x")
    assert pauses.left("x") == 2
    pauses.told("unknown")


def test_a_success_resets() -> None:
    pauses: Pauses[str] = Pauses(Clock())
    for _ in range(5):
        pauses.failed("x")
    pauses.succeeded("x")
    pauses.failed("x")
    assert pauses.left("x") == 0


def test_users_and_addresses_are_told_apart() -> None:
    pauses = LoginPauses(Clock())
    for _ in range(5):
        pauses.failed("ann", "2001:db8::1")
    assert pauses.retry_after("ann", "2001:db8::2") == 2  # the same network
    assert pauses.retry_after("ann", "192.0.2.1") == 0
    assert pauses.retry_after("bob", "2001:db8::1") == 0
    pauses.succeeded("ann", "2001:db8::3")
    assert pauses.retry_after("ann", "2001:db8::1") == 0


def test_memory_is_bounded_and_a_day_is_enough() -> None:
    clock = Clock()
    pauses: Pauses[int] = Pauses(clock)
    for key in range(MAX_KEYS + 10):
        pauses.failed(key)
    assert len(pauses._failures) == MAX_KEYS
    clock.advance(86401)
    for _ in range(4):
        pauses.failed(5000)
    assert pauses.left(5000) == 0


def test_many_failures_do_not_overflow() -> None:
    pauses: Pauses[str] = Pauses(Clock())
    for _ in range(3000):
        pauses.failed("x")
    assert pauses.left("x") == 300
