import pytest
from twisted.internet.task import Clock
from twisted.web.http_headers import Headers

from appliance.http.call import Call
from appliance.http.errors import HttpError
from appliance.http.rate_limit import MAX_CLIENTS, RateLimit, TokenBucket


def call(address: str) -> Call:
    made = Call("1", "GET", b"/", "/", b"", Headers())
    made.address = address
    return made


def limit(clock: Clock, number: int = 3, exempt: tuple[str, ...] = ()) -> RateLimit:
    return RateLimit(clock, number, lambda address: address in exempt)


def used_up(clock: Clock, address: str = "192.0.2.1") -> RateLimit:
    made = limit(clock)
    for _ in range(3):
        made.admit(call(address))
    return made


def refusal(made: RateLimit, address: str = "192.0.2.1") -> HttpError:
    with pytest.raises(HttpError) as caught:
        made.admit(call(address))
    return caught.value


def test_beyond_the_limit_the_rest_of_the_minute_is_to_be_waited_for() -> None:
    clock = Clock()
    made = used_up(clock)
    clock.advance(20.5)
    error = refusal(made)
    assert error.status == 429
    assert error.headers == {"Retry-After": "40"}
    assert str(error) == "More than 3 requests a minute"


def test_the_next_minute_begins_anew() -> None:
    clock = Clock()
    made = used_up(clock)
    clock.advance(59.9)
    refusal(made)
    clock.advance(0.1)
    for _ in range(3):
        made.admit(call("192.0.2.1"))
    refusal(made)


def test_each_client_is_counted_by_itself() -> None:
    made = used_up(Clock())
    made.admit(call("192.0.2.2"))
    refusal(made)


def test_the_addresses_of_one_ipv6_network_are_one_client() -> None:
    made = used_up(Clock(), "2001:db8::1")
    refusal(made, "2001:db8::ffff")
    made.admit(call("2001:db8:0:1::1"))


def test_nothing_is_limited_by_zero() -> None:
    made = limit(Clock(), 0)
    for _ in range(1000):
        made.admit(call("192.0.2.1"))


def test_who_is_exempt_is_not_counted() -> None:
    made = limit(Clock(), exempt=("127.0.0.1",))
    for _ in range(1000):
        made.admit(call("127.0.0.1"))


def test_a_clock_that_was_set_back_locks_nobody_out() -> None:
    clock = Clock()
    clock.advance(1000)
    made = used_up(clock)
    clock.rightNow -= 500
    made.admit(call("192.0.2.1"))


def test_memory_is_bounded() -> None:
    made = limit(Clock(), 1)
    made.admit(call("192.0.2.1"))
    for number in range(MAX_CLIENTS):
        made.admit(call(f"10.0.{number >> 8}.{number & 255}"))
    made.admit(call("192.0.2.1"))
    refusal(made, "10.0.39.15")


def bucket(clock: Clock, rate: float = 25, burst: int = 100, exempt: tuple[str, ...] = ()) -> TokenBucket:
    return TokenBucket(clock, rate, burst, lambda address: address in exempt, "too many requests")


def admitted(made: TokenBucket, number: int, address: str = "192.0.2.1") -> int:
    """How many of so many requests get in."""
    found = 0
    for _ in range(number):
        refused: list[HttpError] = []
        try:
            made.admit(call(address))
        except HttpError as error:
            refused.append(error)
        found += not refused
        assert all((each.status, str(each)) == (429, "too many requests") for each in refused)
        assert all(int(each.headers["Retry-After"]) >= 1 for each in refused)
    return found


def test_a_bucket_takes_a_burst_and_then_so_many_a_second() -> None:
    clock = Clock()
    made = bucket(clock)
    assert admitted(made, 150) == 100
    clock.advance(1)
    assert admitted(made, 50) == 25
    clock.advance(0.1)
    assert admitted(made, 10) == 2
    clock.advance(1000)
    assert admitted(made, 150) == 100


def test_a_bucket_says_when_to_come_back() -> None:
    clock = Clock()
    made = TokenBucket(clock, 0.1, 1, lambda address: False)
    made.admit(call("192.0.2.1"))
    clock.advance(2)
    with pytest.raises(HttpError) as caught:
        made.admit(call("192.0.2.1"))
    assert caught.value.headers == {"Retry-After": "8"}


def test_each_client_has_a_bucket_and_some_need_none() -> None:
    made = bucket(Clock(), exempt=("192.0.2.9",))
    assert admitted(made, 101) == 100
    assert admitted(made, 1, "192.0.2.2") == 1
    assert admitted(made, 500, "192.0.2.9") == 500
    assert admitted(made, 101, "2001:db8::1") + admitted(made, 1, "2001:db8::2") == 100
    assert admitted(bucket(Clock(), rate=0), 500) == 500


def test_a_clock_that_is_set_back_fills_no_bucket_and_empties_none() -> None:
    clock = Clock()
    clock.advance(1000)
    made = bucket(clock)
    assert admitted(made, 50) == 50
    clock.rightNow -= 500
    assert admitted(made, 100) == 50
    clock.advance(1)
    assert admitted(made, 100) == 25


def test_the_memory_of_buckets_is_bounded() -> None:
    made = bucket(Clock())
    for number in range(MAX_CLIENTS + 5):
        made.admit(call(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"))
    assert len(made._buckets) == MAX_CLIENTS
