"""Ages as kubectl writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.host.kubernetes.ages import age, duration, seconds_between

HOUR, DAY = 3600, 86_400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1.5, "0s"),
        (0, "0s"),
        (59.9, "59s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * HOUR - 1, "179m"),
        (3 * HOUR, "3h"),
        (3 * HOUR + 60, "3h1m"),
        (8 * HOUR, "8h"),
        (47 * HOUR + 3599, "47h"),
        (2 * DAY, "2d"),
        (2 * DAY + 5 * HOUR, "2d5h"),
        (8 * DAY, "8d"),
        (30 * DAY, "30d"),
        (729 * DAY, "729d"),
        (730 * DAY, "2y"),
        (800 * DAY, "2y70d"),
        (8 * 365 * DAY, "8y"),
        (12 * 365 * DAY + 9, "12y"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(-10, 1e10))
def test_any_duration_is_short(seconds: float) -> None:
    assert 2 <= len(duration(seconds)) <= 9


def test_ages() -> None:
    assert age("1970-01-01T00:00:00Z", 2 * DAY) == "2d"
    assert age("1970-01-01T00:00:00.250000Z", 2 * DAY) == "47h"
    for none in (None, "", "yesterday", "1970-01-01T00:00:00"):
        assert age(none, 0) == "<unknown>"


def test_what_something_took() -> None:
    begin, end = "1970-01-01T00:00:00Z", "1970-01-01T00:00:30Z"
    assert seconds_between(begin, end, 100) == 30
    assert seconds_between(begin, None, 100) == 100
    assert seconds_between(None, end, 100) is None
