"""Entries as lines."""

import time
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.client.errors import ClientError
from appliance.client.log_lines import Entry, lines

ENTRY = Entry("2025-08-01T10:30:05.000001Z", level="info", unit="sshd", message="hello", hostname="box", pid=7)


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two hours before Greenwich."""
    monkeypatch.setenv("TZ", "XYZ-2")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "Aug  1 12:30:05 box sshd[7]: hello\n"),
        ({"pid": None, "unit": ""}, "Aug  1 12:30:05 box unknown: hello\n"),
        ({"timestamp": "2025-12-31T23:00:00Z"}, "Jan  1 01:00:00 box sshd[7]: hello\n"),
        ({"message": "one\n\ttwo\n\n"}, "Aug  1 12:30:05 box sshd[7]: one\n" + " " * 37 + "two\n"),
        ({"message": "\x1b[31mred\x07\x00é"}, "Aug  1 12:30:05 box sshd[7]: ?[31mred??é\n"),
        ({"message": ""}, "Aug  1 12:30:05 box sshd[7]: \n"),
        ({"unit": "a\nb", "hostname": "c\x1b"}, "Aug  1 12:30:05 c? a?b[7]: hello\n"),
        ({"message_truncated": True}, "Aug  1 12:30:05 box sshd[7]: hello\n" + " " * 29 + "[…]\n"),
    ],
)
def test_plain(changes: dict[str, Any], expected: str) -> None:
    assert lines(replace(ENTRY, **changes), colours=False) == expected


@pytest.mark.parametrize(
    ("level", "colour"),
    [("critical", "1;31"), ("error", "1;31"), ("warning", "1;33"), ("notice", "1"), ("debug", "2")],
)
def test_colours(level: str, colour: str) -> None:
    text = lines(replace(ENTRY, level=level, message="one\ntwo"), colours=True)
    assert text.count(f"\x1b[{colour}m") == text.count("\x1b[0m") == 2
    assert text.startswith("Aug  1 12:30:05 box sshd[7]: \x1b")
    assert "\x1b" not in lines(replace(ENTRY, level=level), colours=False)


def test_info_has_no_colour() -> None:
    assert lines(ENTRY, colours=True) == lines(ENTRY, colours=False)


@pytest.mark.parametrize("timestamp", ["", "yesterday", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_that_is_none(timestamp: str) -> None:
    with pytest.raises(ClientError, match="a time that is none"):
        lines(replace(ENTRY, timestamp=timestamp), colours=False)
