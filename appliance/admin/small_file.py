"""Small local files that are read at almost every request: kept in memory until the file changes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from twisted.internet.interfaces import IReactorTime

from appliance.files import FileTooLarge, NotARegularFile, read_limited

LIMIT = 64 * 1024
FRESH_SECONDS = 0.05

T = TypeVar("T")


class SmallFile(Generic[T]):
    """The decoded content of a file of at most 64 KiB, read again when its inode, size or time has changed.

    Looked at 20 times a second at the most, and at once after `look_again`; the rare read of such a file from the page
    cache costs less than a thread hand-over.
    """

    def __init__(self, clock: IReactorTime, path: Path, decode: Callable[[bytes], T | None]) -> None:
        self._clock = clock
        self._path = os.fspath(path)
        self._decode = decode
        self._fresh_until = 0.0
        self._stamp: tuple[int, int, int] | None = None
        self._value: T | None = None

    def get(self) -> T | None:
        """Return the decoded content; None where the file is missing, unreadable, too large or decodes to None."""
        now = self._clock.seconds()
        if not self._fresh_until - FRESH_SECONDS <= now < self._fresh_until:
            self._fresh_until = now + FRESH_SECONDS
            self._look()
        return self._value

    def look_again(self) -> None:
        """The file was changed: the next `get` shall see it."""
        self._fresh_until = 0.0

    def _look(self) -> None:
        try:
            found = os.stat(self._path)
        except OSError:
            self._stamp, self._value = None, None
            return
        stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
        if stamp != self._stamp:
            self._value = self._read()
            self._stamp = stamp

    def _read(self) -> T | None:
        try:
            return self._decode(read_limited(self._path, LIMIT))
        except (OSError, FileTooLarge, NotARegularFile):
            return None
