"""Where a reader of the log goes on."""

from twisted.internet.task import Clock

from appliance.client.log_lines import Entry
from appliance.client.log_progress import Progress


def entry(second: int, message: str = "x") -> Entry:
    return Entry(f"2025-08-01T10:30:{second:02}Z", level="info", unit="u", message=message, hostname="h", pid=1)


def test_it_goes_on_at_the_last_entry() -> None:
    progress = Progress({"unit": "u", "since": "-1h", "lines": 5}, Clock().seconds)
    assert progress.filters() == {"unit": "u", "since": "-1h", "lines": 5}
    shown = [entry(1), entry(2, "a"), entry(2, "b"), entry(2, "b")]
    assert all(progress.is_new(each) for each in shown)
    for _ in range(2):  # the connection is lost once more before anything new has come
        assert progress.filters() == {"unit": "u", "since": "2025-08-01T10:30:02Z", "lines": None}
        assert not any(progress.is_new(each) for each in shown[1:])
    assert progress.is_new(entry(2, "b"))  # a third one
    assert progress.is_new(entry(3))
    assert progress.filters()["since"] == "2025-08-01T10:30:03Z"


def test_where_nothing_has_come_yet() -> None:
    clock = Clock()
    progress = Progress({"unit": "u", "lines": 0}, clock.seconds)
    progress.filters()
    clock.advance(90.5)
    assert progress.filters() == {"unit": "u", "since": "-91s", "lines": None}


def test_where_nothing_has_come_since_a_time() -> None:
    clock = Clock()
    wanted = {"unit": "u", "since": "2025-08-01", "lines": None}
    progress = Progress(wanted, clock.seconds)
    progress.filters()
    clock.advance(90)
    assert progress.filters() == wanted
