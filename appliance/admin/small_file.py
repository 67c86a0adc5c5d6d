"""Small local files that are read at almost every request: kept in memory until the file changes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

LIMIT = 64 * 1024

T = TypeVar("T")


class SmallFile(Generic[T]):
    """The decoded content of a file of at most 64 KiB, read again when its inode, size or time has changed.

    One `stat` a call (1–2 µs); the rare read of such a file from the page cache costs less than a thread hand-over.
    """

    def __init__(self, path: Path, decode: Callable[[bytes], T | None]) -> None:
        self._path = os.fspath(path)
        self._decode = decode
        self._stamp: tuple[int, int, int] | None = None
        self._value: T | None = None

    def get(self) -> T | None:
        """Return the decoded content; None where the file is missing, unreadable, too large or decodes to None."""
        try:
            found = os.stat(self._path)
        except OSError:
            self._stamp = None
            return None
        stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
        if stamp != self._stamp:
            self._value = self._read()
            self._stamp = stamp
        return self._value

    def _read(self) -> T | None:
        try:
            with open(self._path, "rb") as file:
                content = file.read(LIMIT + 1)
        except OSError:
            return None
        return self._decode(content) if len(content) <= LIMIT else None
