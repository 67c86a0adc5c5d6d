"""Entries on their way to listeners."""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from appliance.host.journal.entries import from_microseconds, priority_name, process_id
from appliance.host.journal.follow.export import Record
from appliance.host.journal.output import NotAnExport

EXPORT_OUTPUT = (
    "--output=export",
    "--output-fields=MESSAGE,PRIORITY,_SYSTEMD_UNIT,SYSLOG_IDENTIFIER,_HOSTNAME,_PID,SYSLOG_PID",
)
"""The options that make journalctl print what `from_record` takes."""


class LiveEntry(msgspec.Struct, gc=False):
    """
    One entry of the log; its fields are those of `LogEntry`.

    `cursor` is its place in the journal (empty for one of a syslog file), `received` microseconds since 1970.
    `truncated` says that of its message only the beginning is here.
    """

    cursor: bytes
    received: int
    priority: str
    unit: str
    message: str
    hostname: str
    pid: int | None
    truncated: bool

    @property
    def timestamp(self) -> datetime:
        """When the log received it, in UTC."""
        return from_microseconds(self.received)


def from_record(record: Record) -> LiveEntry:
    """Return the entry that a record is (systemd.journal-fields(7)). Raises `NotAnExport` for one without a place."""
    field = record.fields.get
    cursor, received = field(b"__CURSOR"), field(b"__REALTIME_TIMESTAMP", b"")
    if not cursor or not received.isdigit():
        raise NotAnExport
    return LiveEntry(
        cursor=cursor,
        received=int(received),
        priority=priority_name(_text(field(b"PRIORITY", b""))),
        unit=_text(field(b"_SYSTEMD_UNIT", b"")).removesuffix(".service") or _text(field(b"SYSLOG_IDENTIFIER", b"")),
        message="\n".join([_text(each) for each in record.messages]),
        hostname=_text(field(b"_HOSTNAME", b"")),
        pid=process_id(_text(field(b"_PID") or field(b"SYSLOG_PID", b""))),
        truncated=record.truncated,
    )


class Batch:
    """Entries that came together. What they are encoded to is made once for each form, whoever sends it."""

    def __init__(self, entries: Sequence[LiveEntry]) -> None:
        """At least one."""
        self.entries = entries
        self.size = sum(len(entry.message) for entry in entries) + 256 * len(entries)
        self._encoded: dict[Callable[[LiveEntry], bytes], bytes] = {}

    @property
    def cursor(self) -> bytes:
        """The place of the last entry."""
        return self.entries[-1].cursor

    def encoded(self, form: Callable[[LiveEntry], bytes]) -> bytes:
        """The entries one after the other, as `form` encodes each."""
        known = self._encoded.get(form)
        if known is None:
            known = self._encoded[form] = b"".join([form(entry) for entry in self.entries])
        return known


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
