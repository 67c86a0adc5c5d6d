"""
Lines of syslog as entries.

Lines are in the traditional form (RFC 3164: `Aug  1 10:30:00 host tag[1]: text`, local time, no year) or begin with an
RFC 3339 time; both may have a `<PRI>` before them, without which a line counts as `info`. What follows a line without
such a head belongs to it.
"""

import re
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from appliance.host.journal.entries import LogEntry, from_microseconds, priority_name, process_id
from appliance.host.journal.query import LogFilter

_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_HEAD = re.compile(
    rb"(?:<(?P<pri>[0-9]{1,3})>1? ?)?"
    rb"(?P<time>(?:" + b"|".join(_MONTHS) + rb") [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}"
    rb"|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(?:Z|[+-][0-9]{2}:?[0-9]{2})) "
    rb"(?P<host>[^\s]{1,255}) "
    rb"(?:(?P<tag>[^\s:\[]{1,128})(?:\[(?P<pid>[0-9]{1,9})\]:?|:) ?)?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS_BACK = 8  # until there is a 29 February, even around a year like 2100


class SyslogText:
    """`data` of a file that was last `written` then (seconds since 1970): what the year of its lines is taken from."""

    def __init__(self, data: bytes, written: float) -> None:
        self.data = data
        self._written = written
        self._minutes: dict[bytes, int] = {}

    def matching(self, wanted: LogFilter) -> "array[int]":
        """Where the entries begin that match, in the order of the file."""
        found = array("Q")
        for head, end in self.heads():
            if self._matches(wanted, head, end):
                found.append(head.start())
        return found

    def entry(self, start: int) -> LogEntry:
        """The entry that begins there."""
        head, end = next(self.heads(start))
        return LogEntry(
            timestamp=from_microseconds(self._moment(head["time"])),
            priority=priority_name(_priority(head)),
            unit=_text(head["tag"] or b""),
            message=self._message(head, end),
            hostname=_text(head["host"]),
            pid=process_id(_text(head["pid"] or b"")),
        )

    def heads(self, start: int = 0) -> "Iterator[tuple[re.Match[bytes], int]]":
        """The heads from `start` on, each with the end of its entry."""
        # Line by line: one regular expression over the whole would keep all other threads out for a second.
        data, head = self.data, None
        while start < len(data):
            next_head = _HEAD.match(data, start)
            if next_head is not None:
                if head is not None:
                    yield head, start
                head = next_head
            start = data.find(b"\n", start) + 1 or len(data)
        if head is not None:
            yield head, len(data)

    def _matches(self, wanted: LogFilter, head: "re.Match[bytes]", end: int) -> bool:
        if wanted.service is not None:
            tag = _text(head["tag"] or b"")
            if wanted.service not in (tag, f"{tag}.service"):
                return False
        if wanted.priority is not None and int(_priority(head) or 6) > wanted.priority:
            return False
        if wanted.since is not None and self._moment(head["time"]) < wanted.since:
            return False
        if wanted.until is not None and self._moment(head["time"]) > wanted.until:
            return False
        return wanted.search is None or wanted.search.lower() in self._message(head, end).lower()

    def _message(self, head: "re.Match[bytes]", end: int) -> str:
        return _text(self.data[head.end() : end].rstrip(b"\n"))

    def _moment(self, time: bytes) -> int:
        """Microseconds since 1970; a time that does not exist counts as that of the file."""
        try:
            if time[:1].isdigit():
                return (datetime.fromisoformat(time.decode()) - _EPOCH) // timedelta(microseconds=1)
            minute, second = time[:12], int(time[13:])
            if minute not in self._minutes:
                self._minutes[minute] = self._without_year(minute)
            return (self._minutes[minute] + second) * 1_000_000
        except (ValueError, OverflowError):
            return int(self._written * 1_000_000)

    def _without_year(self, minute: bytes) -> int:
        """Seconds since 1970 of `Aug  1 10:30`, in the last year in which that was before the file was written."""
        month, day = _MONTHS.index(minute[:3]) + 1, int(minute[4:6])
        hour, minutes = int(minute[7:9]), int(minute[10:12])
        latest = datetime.fromtimestamp(self._written) + timedelta(days=1)
        for year in range(latest.year, latest.year - _YEARS_BACK - 1, -1):
            if (month, day) == (2, 29) and not _is_leap(year):
                continue
            found = datetime(year, month, day, hour, minutes)
            if found <= latest:
                return int(found.timestamp())
        raise ValueError("a day that does not exist")


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _priority(head: "re.Match[bytes]") -> str:
    """The severity in `<PRI>` (RFC 5424 section 6.2.1), empty without one."""
    return str(int(head["pri"]) & 7) if head["pri"] else ""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
