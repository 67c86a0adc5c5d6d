"""
Syslog's files, for machines without a journal: /var/log/syslog or, without it, /var/log/messages, and the one before.

Everything here blocks.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from appliance.host.errors import Unavailable
from appliance.host.journal.entries import LogEntry
from appliance.host.journal.query import LogFilter
from appliance.host.journal.syslog_text import SyslogText

READ_LIMIT = 32 << 20
"""How many bytes are read at most, the newest."""

_FAMILIES = ("syslog", "messages")


@dataclass(frozen=True, slots=True)
class SyslogPage:
    """The entries asked for, how many match in all, and whether older lines were left unread."""

    entries: Sequence[LogEntry]
    total: int
    capped: bool


def present(folder: Path) -> Sequence[Path]:
    """The files to read, newest first. While files are rotated the newest is missing for a moment."""
    for family in _FAMILIES:
        found = [path for path in (folder / family, folder / f"{family}.1") if path.is_file()]
        if found:
            return found
    return []


def open_file(path: Path) -> FileIO:
    """Open a file, unbuffered. Raises `Unavailable` for one that cannot be read, and for what is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
    file = FileIO(descriptor)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise Unavailable(f"{path} is not a regular file")
    return file


def read(folder: Path, wanted: LogFilter, first: int, count: int) -> SyslogPage:
    """
    Return `count` of the entries that match, from the one `first` places before the newest, newest first.

    Raises `Unavailable` for a file that cannot be read.
    """
    room, total, capped = READ_LIMIT, 0, False
    entries: list[LogEntry] = []
    for path in present(folder):
        file = _File(path, room)
        room -= len(file.data)
        capped = capped or file.cut
        matching = file.matching(wanted)
        begin, end = max(0, first - total), max(0, first + count - total)
        entries += [file.entry(start) for start in matching[::-1][begin:end]]
        total += len(matching)
    return SyslogPage(entries, total, capped)


class _File(SyslogText):
    """The end of a file, at most `limit` bytes, as entries; `cut` says that there is more before it."""

    def __init__(self, path: Path, limit: int) -> None:
        with open_file(path) as file:
            facts = os.fstat(file.fileno())
            self.cut = facts.st_size > limit
            file.seek(max(0, facts.st_size - limit))
            data = file.read(limit)
        super().__init__(data[data.find(b"\n") + 1 :] if self.cut else data, facts.st_mtime)
