"""Filters: what clients may write, what it means, and what is refused."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.host.errors import Invalid
from appliance.host.journal.query import PRIORITIES, LogFilter, make_filter

NOW = 1_760_000_000.75


def micro(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type,misc]


def test_nothing_given() -> None:
    assert make_filter(now=NOW) == LogFilter()
    assert make_filter(now=NOW, service="", unit="", priority="", since="", until="", search="") == LogFilter()


def test_equal_queries_are_one_filter() -> None:
    first = make_filter(now=NOW, service="sshd", priority="err", since="-1h")
    second = make_filter(now=NOW + 0.1, unit="sshd", priority="ERROR", since="-1h")
    assert first == second
    assert len({first, second}) == 1


@pytest.mark.parametrize(
    "names",
    [
        ("debug", "7"),
        ("info", "6"),
        ("notice", "5"),
        ("warning", "warn", "4", "Warning"),
        ("error", "err", "3"),
        ("critical", "crit", "2"),
        ("alert", "1"),
        ("emergency", "emerg", "panic", "0"),
    ],
)
def test_priorities_in_all_spellings(names: tuple[str, ...]) -> None:
    assert {make_filter(now=NOW, priority=name).priority for name in names} == {PRIORITIES.index(names[0])}


@pytest.mark.parametrize("text", ["8", "-1", "1..3", "errors", "all", "0x1", " err", "err\n", "٣"])
def test_other_priorities_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="expected one of debug, info, notice") as caught:
        make_filter(now=NOW, priority=text)
    assert caught.value.field == "priority"


@pytest.mark.parametrize(
    "text",
    [
        *("sshd", "cron.service", "user@1000.service", "session-3.scope", "postfix/smtpd", "(sd-pam)", "CRON", "a b"),
        *(r"dev-disk-by\x2duuid-1.device", "systemd-fsck@dev-sda1.service", "a..b"),
    ],
)
def test_services(text: str) -> None:
    assert make_filter(now=NOW, service=text).service == text
    assert make_filter(now=NOW, unit=text).service == text


@pytest.mark.parametrize(
    "text",
    [
        *("--help", "-u", "../x", "a/../b", "a/..", "sshd\n", "a\nb", "a\0", "a\x1b[0m", "ümläut", "a=b", "*", "a;b"),
        *("$(id)", "`id`", "'", '"', " a", "/etc/passwd", ".hidden", "x" * 256),
    ],
)
@pytest.mark.parametrize("field", ["service", "unit"])
def test_what_is_no_service_is_refused(text: str, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        make_filter(now=NOW, **{field: text})
    assert caught.value.field == field


def test_two_names_with_two_values() -> None:
    assert make_filter(now=NOW, service="a", unit="a").service == "a"
    with pytest.raises(Invalid) as caught:
        make_filter(now=NOW, service="a", unit="b")
    assert caught.value.field == "unit"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2025-08-01T10:30:00Z", micro(2025, 8, 1, 10, 30)),
        ("2025-08-01t10:30:00z", micro(2025, 8, 1, 10, 30)),
        ("2025-08-01T10:30:00.25Z", micro(2025, 8, 1, 10, 30) + 250_000),
        ("2025-08-01T10:30:00.123456Z", micro(2025, 8, 1, 10, 30) + 123_456),
        ("2025-08-01T10:30:00.123456789Z", micro(2025, 8, 1, 10, 30) + 123_456),
        ("2025-08-01T12:30:00+02:00", micro(2025, 8, 1, 10, 30)),
        ("2025-08-01T12:30:00 02:00", micro(2025, 8, 1, 10, 30)),  # a `+` in a query that was not encoded
        ("2025-08-01T05:30:00-05:00", micro(2025, 8, 1, 10, 30)),
        ("2025-08-01T10:30:00", micro(2025, 8, 1, 10, 30)),
        ("2025-08-01 10:30:00", micro(2025, 8, 1, 10, 30)),
        ("2025-08-01 10:30", micro(2025, 8, 1, 10, 30)),
        ("2025-08-01", micro(2025, 8, 1)),
        ("1754044200", 1_754_044_200_000_000),
        ("1754044200.5", 1_754_044_200_500_000),
        ("0", 0),
        ("1969-12-31", 0),
        ("0001-01-01T00:00:00+14:00", 0),
        ("-30s", 1_759_999_970_000_000),
        ("-15m", 1_759_999_100_000_000),
        ("-1h", 1_759_996_400_000_000),
        ("-2d", 1_759_827_200_000_000),
        ("-1w", 1_759_395_200_000_000),
        ("-999999999w", 0),
    ],
)
def test_times(text: str, wanted: int) -> None:
    assert make_filter(now=NOW, since=text).since == wanted
    assert make_filter(now=NOW, until=text).until == wanted


@pytest.mark.parametrize(
    "text",
    [
        *("yesterday", "--help", "-1", "1h", "-1y", "-h", "2025-13-01", "2025-02-30", "2025-08-01T25:00:00Z", "1e9"),
        *("2025-08-01T10:30:00+25:00", "1754044200000", "2025-08-01T10:30:00Z\n", "@5", "٢٠٢٥-٠٨-٠١", "-"),
        *("2025-08-01T10:30:60Z", "2025-8-1", "1754044200.1234567", "now; id", "9999-12-31T23:59:59-23:59 "),
    ],
)
@pytest.mark.parametrize("field", ["since", "until"])
def test_what_is_no_time_is_refused(text: str, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        make_filter(now=NOW, **{field: text})
    assert caught.value.field == field


def test_an_end_before_the_beginning() -> None:
    make_filter(now=NOW, since="2025-08-01", until="2025-08-01")
    with pytest.raises(Invalid) as caught:
        make_filter(now=NOW, since="2025-08-02", until="2025-08-01")
    assert caught.value.field == "since"


def test_texts_to_search_for() -> None:
    assert make_filter(now=NOW, search="Grüße .*").search == "Grüße .*"
    for text in ("a\nb", "\0", "x" * 257):
        with pytest.raises(Invalid) as caught:
            make_filter(now=NOW, search=text)
        assert caught.value.field == "search"


@given(st.fixed_dictionaries({name: st.text(max_size=40) for name in ("service", "priority", "since", "until")}))
def test_any_text_is_a_filter_or_refused(texts: dict[str, str]) -> None:
    with contextlib.suppress(Invalid):
        found = make_filter(now=NOW, **texts)
        assert found.priority in (None, *range(8))
        assert all(moment is None or moment >= 0 for moment in (found.since, found.until))


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 30)))
def test_every_rfc_3339_time_is_understood(when: datetime) -> None:
    moment = when.replace(tzinfo=UTC)
    text = moment.isoformat()
    wanted = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert make_filter(now=NOW, since=text).since == wanted


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999999-00:01"])
def test_a_moment_that_is_none_in_utc(text: str) -> None:
    with pytest.raises(Invalid, match="until: no such date or time"):
        make_filter(now=NOW, until=text)
    assert make_filter(now=NOW, until="9999-12-31T23:59:59.999999Z").until is not None
