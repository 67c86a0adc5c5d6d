"""journalctl's JSON as entries."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.host.journal.entries import LEFT_OUT, decode


def line(**fields: Any) -> bytes:
    return json.dumps({"__CURSOR": "s=1", "__REALTIME_TIMESTAMP": "1754044200123456", **fields}).encode()


def test_an_entry_of_a_unit() -> None:
    entry = decode(
        line(
            MESSAGE="Accepted publickey for user",
            PRIORITY="6",
            _SYSTEMD_UNIT="sshd.service",
            SYSLOG_IDENTIFIER="sshd-session",
            _HOSTNAME="server1",
            _PID="1234",
            SYSLOG_PID="99",
        )
    )
    assert json.loads(msgspec.json.encode(entry)) == {
        "timestamp": "2025-08-01T10:30:00.123456Z",
        "priority": "info",
        "unit": "sshd",
        "message": "Accepted publickey for user",
        "hostname": "server1",
        "pid": 1234,
    }


def test_an_entry_with_nothing_but_a_time() -> None:
    entry = decode(line())
    assert entry.timestamp == datetime(2025, 8, 1, 10, 30, 0, 123456, UTC)
    assert (entry.priority, entry.unit, entry.message, entry.hostname, entry.pid) == ("info", "", "", "", None)
    assert b'"pid":null' in msgspec.json.encode(entry)


@pytest.mark.parametrize(
    ("number", "name"),
    list(enumerate(("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"))),
)
def test_priorities(number: int, name: str) -> None:
    assert decode(line(PRIORITY=str(number))).priority == name


@pytest.mark.parametrize("value", ["8", "-1", "x", "", "٣", [255, 0], None, ["3", "4"]])
def test_priorities_that_anybody_may_have_written(value: Any) -> None:
    assert decode(line(PRIORITY=value)).priority == ("error" if value == ["3", "4"] else "info")


@pytest.mark.parametrize(
    ("unit", "identifier", "shown"),
    [
        ("cron.service", "CRON", "cron"),
        ("session-3.scope", "sudo", "session-3.scope"),
        (None, "kernel", "kernel"),
        ("user@1000.service", None, "user@1000"),
    ],
)
def test_units(unit: str | None, identifier: str | None, shown: str) -> None:
    given_fields = {"_SYSTEMD_UNIT": unit, "SYSLOG_IDENTIFIER": identifier}
    assert decode(line(**{name: value for name, value in given_fields.items() if value})).unit == shown


@pytest.mark.parametrize(
    ("fields", "pid"),
    [
        ({"_PID": "1"}, 1),
        ({"SYSLOG_PID": "77"}, 77),
        ({"SYSLOG_PID": "seven"}, None),
        ({"SYSLOG_PID": "9" * 400}, None),
        ({"SYSLOG_PID": "-1"}, None),
        ({"SYSLOG_PID": ["5", "6"]}, 5),
        ({"SYSLOG_PID": [255]}, None),
    ],
)
def test_process_ids(fields: dict[str, Any], pid: int | None) -> None:
    assert decode(line(**fields)).pid == pid


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("two\nlines", "two\nlines"),
        ([116, 119, 111, 10, 195, 188, 0, 255], "two\nü\0\ufffd"),
        (["one", "two"], "one\ntwo"),
        ([[255, 254], "text"], "\ufffd\ufffd\ntext"),
        ([], ""),
        ("", ""),
    ],
)
def test_messages(value: Any, message: str) -> None:
    entry = decode(line(MESSAGE=value))
    assert entry.message == message
    assert b"message_left_out" not in msgspec.json.encode(entry)


@pytest.mark.parametrize("value", [None, ["short", None]])
def test_messages_that_were_too_long(value: Any) -> None:
    entry = decode(line(MESSAGE=value))
    assert (entry.message, entry.message_left_out) == (LEFT_OUT, True)


@given(st.binary(min_size=1))
def test_any_bytes_can_be_a_message(raw: bytes) -> None:
    assert decode(line(MESSAGE=list(raw))).message == raw.decode("utf-8", "replace")


@pytest.mark.parametrize("text", [b"", b"-- No entries --", b"{}", b"[]", b'{"__REALTIME_TIMESTAMP":5}'])
def test_what_is_no_entry(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(text)
