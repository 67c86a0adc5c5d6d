"""Entries of the log, and how journalctl's JSON becomes one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from appliance.host.journal.query import PRIORITIES

ENTRY_OUTPUT = (
    "--output=json",
    "--output-fields=MESSAGE,PRIORITY,_SYSTEMD_UNIT,SYSLOG_IDENTIFIER,_HOSTNAME,_PID,SYSLOG_PID",
)
"""The options that make journalctl print what `decode` takes, a line an entry; `--all` keeps long fields whole."""

LEFT_OUT = "[longer than 4096 bytes and left out here: ask for fewer entries at a time]"

_DEFAULT_PRIORITY = 6
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_Value = str | list[Any] | None


class LogEntry(msgspec.Struct, omit_defaults=True):
    """
    One entry of the log.

    `timestamp` is when the log received it, in UTC; `unit` the systemd unit without `.service`, else the syslog
    identifier, else empty; `message_left_out` says that the message was too long for a page this large.
    """

    timestamp: datetime
    priority: str
    unit: str
    message: str
    hostname: str
    pid: int | None
    message_left_out: bool = False


class _Line(msgspec.Struct):
    """What we take of journalctl's JSON (systemd.journal-fields(7))."""

    realtime: str = msgspec.field(name="__REALTIME_TIMESTAMP")
    message: _Value = msgspec.field(name="MESSAGE", default="")
    priority: _Value = msgspec.field(name="PRIORITY", default="")
    unit: _Value = msgspec.field(name="_SYSTEMD_UNIT", default="")
    identifier: _Value = msgspec.field(name="SYSLOG_IDENTIFIER", default="")
    hostname: _Value = msgspec.field(name="_HOSTNAME", default="")
    pid: _Value = msgspec.field(name="_PID", default="")
    claimed_pid: _Value = msgspec.field(name="SYSLOG_PID", default="")


_decode_line = msgspec.json.Decoder(_Line).decode


def decode(line: bytes) -> LogEntry:
    """Return the entry that a line of journalctl's JSON describes. Raises `msgspec.DecodeError` for anything else."""
    fields = _decode_line(line)
    left_out = _left_out(fields.message)
    return LogEntry(
        timestamp=from_microseconds(int(fields.realtime)),
        priority=priority_name(_first(fields.priority)),
        unit=_first(fields.unit).removesuffix(".service") or _first(fields.identifier),
        message=LEFT_OUT if left_out else "\n".join(_texts(fields.message)),
        hostname=_first(fields.hostname),
        pid=process_id(_first(fields.pid) or _first(fields.claimed_pid)),
        message_left_out=left_out,
    )


def from_microseconds(since_1970: int) -> datetime:
    """A moment in UTC."""
    return _EPOCH + timedelta(microseconds=since_1970)


def priority_name(number: str) -> str:
    """The name of a priority; `info`, which journald assumes too, for an entry that states none."""
    return PRIORITIES[int(number) if number in ("0", "1", "2", "3", "4", "5", "6", "7") else _DEFAULT_PRIORITY]


def process_id(text: str) -> int | None:
    """The number in a field that anybody may have written, None where it holds none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _left_out(value: _Value) -> bool:
    return value is None or (isinstance(value, list) and None in value)


def _first(value: _Value) -> str:
    texts = _texts(value)
    return texts[0] if texts else ""


def _texts(value: _Value) -> list[str]:
    """
    The values of a field (systemd's "Journal JSON Format").

    A string is itself, an array of numbers the bytes of what is not printable UTF-8, an array of such things a field
    that was given several times, null one that is too long.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if value and isinstance(value[0], int):
        return [bytes(value).decode("utf-8", "replace")]
    return [text for each in value for text in _texts(each)]
