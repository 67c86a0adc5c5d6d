"""The end of syslog's files, read on as they grow and through their rotation. Everything here blocks."""

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from io import FileIO
from pathlib import Path
from threading import Lock

from appliance.host.errors import Unavailable
from appliance.host.journal.entries import LogEntry
from appliance.host.journal.follow.batch import LiveEntry
from appliance.host.journal.follow.export import MESSAGE_LIMIT
from appliance.host.journal.query import LogFilter
from appliance.host.journal.syslog_files import READ_LIMIT, open_file, present
from appliance.host.journal.syslog_text import SyslogText

CHUNK = MESSAGE_LIMIT + 4096
"""How much is read at once: more than the longest entry that comes whole."""

SETTLED = 0.25
"""Seconds without a write after which a file's last entry counts as whole: further lines may belong to it."""

LEFT = 1.0
"""Seconds without a write after which a renamed file counts as left: syslog writes to it until it is told to reopen."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SyslogTail:
    """
    The entries that match `wanted`, from some place in syslog's files on.

    `at_end` says, after a `read`, that there is nothing more for now. A file that is renamed is read to its end before
    the next one. One that is emptied in its place (`copytruncate` of logrotate(8)) is read from its beginning; what was
    written to it between the last look and that is lost.
    """

    def __init__(self, folder: Path, wanted: LogFilter) -> None:
        self.at_end = False
        self._folder = folder
        self._wanted = wanted
        self._file: FileIO | None = None
        self._offset = 0
        self._closed = False
        self._lock = Lock()

    def begin(self, lines: int | None) -> None:
        """
        Go to where the newest `lines` entries begin that match, or (None) to the beginning of the oldest file.

        They are looked for in the newest `READ_LIMIT` bytes of each file. Raises `Unavailable`.
        """
        with self._lock:
            paths = [] if self._closed else present(self._folder)
            if not paths:
                raise Unavailable("There is no syslog file any more")
            if lines is None:
                self._open(paths[-1])
                return
            for path in paths:
                file = self._open(path)
                facts = os.fstat(file.fileno())
                self._offset = max(0, facts.st_size - READ_LIMIT)
                text = SyslogText(os.pread(file.fileno(), READ_LIMIT, self._offset), facts.st_mtime)
                starts = text.matching(self._wanted)
                if len(starts) >= lines:
                    self._offset += starts[-lines] if lines else len(text.data)
                    return
                lines -= len(starts)

    def read(self, *, final: bool) -> Sequence[LiveEntry]:
        """
        Return the next entries, from at most `CHUNK` bytes.

        The last one of a file is held back while it may still grow, unless this is `final`. Raises `Unavailable`.
        """
        with self._lock:
            if self._file is None:
                self.at_end = True
                return []
            facts = os.fstat(self._file.fileno())
            if facts.st_size < self._offset:
                self._offset = 0
            following = self._following(facts)  # looked for before reading: what is read then is all there will be
            data = os.pread(self._file.fileno(), CHUNK, self._offset)
            written = os.fstat(self._file.fileno()).st_mtime  # and this after it: what was added since is not quiet
            quiet = abs(time.time() - written)
            used = _used(SyslogText(data, written), whole=final or quiet >= SETTLED)
            entries = self._entries(SyslogText(data[:used], written))
            self._offset += used
            self.at_end = len(data) < CHUNK
            if self.at_end and used == len(data) and following is not None and (final or quiet >= LEFT):
                self._open(following)
                self.at_end = False
            return entries

    def close(self) -> None:
        """Let go of the file, once nothing reads it, for good."""
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()
                self._file = None

    def _entries(self, text: SyslogText) -> Sequence[LiveEntry]:
        return [_live(text.entry(start)) for start in text.matching(self._wanted)]

    def _open(self, path: Path) -> FileIO:
        """Go to the beginning of a file."""
        file = open_file(path)
        if self._file is not None:
            self._file.close()
        self._file, self._offset = file, 0
        return file

    def _following(self, facts: os.stat_result) -> Path | None:
        """The file that comes after ours in time; None while ours is the newest."""
        after: Path | None = None
        for path in present(self._folder):
            try:
                found = path.stat()
            except FileNotFoundError:  # renamed just now
                return None
            if (found.st_dev, found.st_ino) == (facts.st_dev, facts.st_ino):
                return after
            after = path
        return after


def _used(text: SyslogText, *, whole: bool) -> int:
    """How many of the bytes can be taken for entries now. `whole`: the last entry is complete."""
    full = len(text.data) == CHUNK
    if whole and not full:
        return len(text.data)
    heads = [head.start() for head, _ in text.heads()]
    if heads and heads[-1]:
        return heads[-1]
    # One entry fills it all: it is cut, but not within a line, which may be the next one's head.
    return (text.data.rfind(b"\n") + 1 or CHUNK) if full else 0


def _live(entry: LogEntry) -> LiveEntry:
    return LiveEntry(
        cursor=b"",
        received=(entry.timestamp - _EPOCH) // timedelta(microseconds=1),
        priority=entry.priority,
        unit=entry.unit,
        message=entry.message[:MESSAGE_LIMIT],
        hostname=entry.hostname,
        pid=entry.pid,
        truncated=len(entry.message) > MESSAGE_LIMIT,
    )
