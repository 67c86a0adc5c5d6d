"""The file of a container's log: opened with care, its last lines found, read on through rotation. All of it blocks."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from appliance.host.containers.cri.log_format import HEAD_LIMIT, HELD_LIMIT, LogLines, Selection, head
from appliance.host.containers.errors import RuntimeFailed
from appliance.host.containers.model import LogOptions

CHUNK = 128 * 1024
SEARCH_LIMIT = 256 << 20
"""Bytes before the end of a log in which lines are looked for, some seconds' work; the kubelet keeps logs to 10 MiB."""


class LogFile:
    """The log at `path`, which need not be there yet.

    Where it is followed, a file that is renamed is read to its end before the one that takes its place, and one that is
    emptied is read from its beginning. Where it is not, what it held at the beginning is all that is read.
    """

    def __init__(self, path: str, options: LogOptions) -> None:
        self._path = path
        self._options = options
        self._selection = Selection(options)
        self._lines = LogLines(self._selection, timestamps=options.timestamps)
        self._file = -1
        self._offset = 0
        self._end = None if options.follow else 0
        self._replaced = False
        self._closed = False
        self._lock = Lock()

    def begin(self) -> None:
        """Go to where the lines begin that are asked for. Raises `RuntimeFailed`."""
        with self._lock, _told():
            if not self._closed and self._open():
                end = os.fstat(self._file).st_size
                if self._end is not None:
                    self._end = end
                self._offset, first = find(self._file, end, self._options)
                self._lines = LogLines(
                    self._selection, timestamps=self._options.timestamps, begin=self._offset, first=first
                )
        self._close_if_closed()

    def read(self) -> tuple[bytes, bool]:
        """What the next piece of the file comes to, and whether that was its end for now. Raises `RuntimeFailed`."""
        with self._lock, _told():
            text, at_end = (b"", True) if self._closed else self._read()
        self._close_if_closed()
        return text, at_end

    def finish(self) -> bytes:
        """The text that was held because its line has not ended."""
        with self._lock:
            return self._lines.finish()

    def close(self) -> None:
        """Let go of the file, for good; one that is being read is let go of after that. Does not block."""
        self._closed = True
        self._close_if_closed()

    def _close_if_closed(self) -> None:
        """Called by whoever has just read, too: one of the two finds the lock free."""
        if self._closed and self._lock.acquire(blocking=False):
            try:
                self._let_go()
            finally:
                self._lock.release()

    def _read(self) -> tuple[bytes, bool]:
        if self._file < 0 and not self._open():
            return b"", True
        replaced = self._options.follow and self._is_replaced()  # looked for before reading: what is read then is all
        data = os.pread(self._file, self._size(), self._offset)
        self._offset += len(data)
        if data:
            return self._lines.feed(data), False
        if self._end is not None:
            return b"", True
        if os.fstat(self._file).st_size < self._offset:
            self._offset = 0
            self._lines.restart()
            return b"", False
        if replaced and self._replaced:  # for the second time: what was being written then is written now
            self._let_go()
            self._offset, self._replaced = 0, False
            self._lines.restart()
            return b"", not self._open()
        self._replaced = replaced
        return b"", True

    def _size(self) -> int:
        return CHUNK if self._end is None else min(CHUNK, self._end - self._offset)

    def _is_replaced(self) -> bool:
        """Whether another file has the name by now; not while there is none."""
        try:
            found = os.lstat(self._path)
        except OSError:
            return False
        ours = os.fstat(self._file)
        return (found.st_dev, found.st_ino) != (ours.st_dev, ours.st_ino)

    def _open(self) -> bool:
        """Open the file; False where there is none. Raises `RuntimeFailed` for what is not a plain file."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
        try:
            if not self._path.startswith("/"):
                raise ValueError
            file = os.open(self._path, flags)
        except FileNotFoundError:
            return False
        except (ValueError, OSError) as error:
            why = "is a link" if isinstance(error, OSError) and error.errno == errno.ELOOP else "cannot be read"
            raise RuntimeFailed(f"The container's log {why}") from error
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise RuntimeFailed("The container's log is not a regular file")
        self._file = file
        return True

    def _let_go(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@contextmanager
def _told() -> Iterator[None]:
    """Raises `RuntimeFailed` for what the kernel refuses: of a disk that fails, or a file that is none on a disk."""
    try:
        yield
    except OSError as error:
        raise RuntimeFailed("The container's log cannot be read") from error


def find(file: int, end: int, options: LogOptions) -> tuple[int, int]:
    """Where to read from, in an open log up to `end`, and where the first line that is asked for has its last part.

    Looks from the end for the last `tail` lines, and for those since a time: a piece of `CHUNK` bytes in which all are
    older ends the search, and so does `SEARCH_LIMIT`.
    """
    if options.tail == 0:
        return end, end
    if options.tail is None and options.since is None:
        return 0, 0
    search = _Search(options, end)
    behind = b""
    limit = max(0, end - SEARCH_LIMIT)
    while end > limit:
        begin = max(0, end - CHUNK)
        data = os.pread(file, end - begin, begin) + behind
        search.recent = search.old = False
        newline = end - begin  # a line may begin where this piece ends
        while (newline := data.rfind(b"\n", 0, newline)) >= 0:
            if search.ends_at(begin + newline + 1, data, newline + 1):
                return search.begin, search.first
        if begin == 0:
            search.ends_at(0, data, 0)
            return 0, search.first
        if search.old and not search.recent and (not search.open or search.first - begin > HELD_LIMIT):
            return search.begin, search.first
        behind, end = data[:HEAD_LIMIT], begin
    return search.begin, search.first


class _Search:
    """Goes through a log's parts from the last to the first."""

    def __init__(self, options: LogOptions, end: int) -> None:
        self.begin = end
        self.first = end
        self.recent = self.old = False
        self.open: set[bytes] = set()
        """The streams whose line that was counted last has not been seen to its beginning."""
        self._selection = Selection(options)
        self._left = options.tail
        self._seen: set[bytes] = set()

    def ends_at(self, at: int, data: bytes, offset: int) -> bool:
        """Take the part that begins `at` in the file and at `offset` in `data`; whether the search ends."""
        later, self.begin = self.begin, at
        found = head(data, offset)
        if found is None or found.stream not in self._selection.streams:
            return False
        last = found.ends or found.stream not in self._seen
        self._seen.add(found.stream)
        if last:
            self.open.discard(found.stream)
            if self._left == 0:
                if not self.open:
                    self.begin = later
                return not self.open
            if self._selection.within(found):
                self.recent = True
                self.first = at
                self.open.add(found.stream)
                if self._left is not None:
                    self._left -= 1
            elif self._selection.is_too_old(found):
                self.old = True
            else:
                self.recent = True
        return self._left == 0 and self.first - at > HELD_LIMIT
