"""Reads tar archives of strangers: strict rules for each member, bounded sizes, plain tar or gzip.

Standard library only, for the programs of this folder.

The rules. A name is relative and has no `..`. Members are files, directories and links; devices, fifos, sparse
files and set-user-ID or set-group-ID files are refused. A symbolic link is relative, may climb with `..` at its
beginning only, and not out of the tree. Every byte unpacked counts against the limit, headers and padding too.
The archive must have its end marker, so a cut one is not taken for whole. Formats: POSIX.1-2017 pax (ustar), and
the GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Protocol, cast

BLOCK = 512
CHUNK = 256 * 1024
DEFAULT_LIMIT = 8 * 1024**3
# One extended header (a long name, pax records) is read into memory whole; real ones have a few hundred
# bytes.
HEADER_LIMIT = 64 * 1024
GLOBAL_RECORD_LIMIT = 64
MEMBER_LIMIT = 500_000
PATH_LIMIT = 4096

FILE, DIRECTORY, SYMLINK, HARDLINK = "file", "directory", "symlink", "hardlink"


class ArchiveError(Exception):
    """The archive is refused or broken. The text is one line and says which member and why."""


class Source(Protocol):
    """Bytes of an archive: `read(n)` gives up to n bytes, and none only at the end."""

    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True)
class Member:
    """One member: its clean relative name, kind, size in bytes, permission bits, time and link target."""

    name: str
    kind: str
    size: int
    mode: int
    mtime: int
    target: str = ""


class _Rejoined:
    """A source whose first bytes were read already to find out what it is."""

    def __init__(self, head: bytes, rest: Source) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int = -1, /) -> bytes:
        if self._head:
            size = len(self._head) if size < 0 else size
            part, self._head = self._head[:size], self._head[size:]
            return part
        return self._rest.read(size)


class _Forward:
    """The unpacked bytes, forward only, in bounded pieces, counted against the limit."""

    def __init__(self, source: Source, limit: int) -> None:
        head = b""
        while len(head) < 2 and (more := source.read(2 - len(head))):
            head += more
        rejoined = _Rejoined(head, source)
        self._source: Source = rejoined
        if head == b"\x1f\x8b":
            self._source = gzip.GzipFile(fileobj=cast("IO[bytes]", rejoined), mode="rb")
        self._limit = limit
        self._position = 0
        self.last_block_was_empty = False

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= max(HEADER_LIMIT, CHUNK):
            raise ArchiveError("a header is too long")
        pieces = []
        while size and (piece := self._source.read(size)):
            pieces.append(piece)
            size -= len(piece)
        data = b"".join(pieces)
        self._position += len(data)
        if self._position > self._limit:
            raise ArchiveError(f"it unpacks to more than {self._limit} bytes")
        self.last_block_was_empty = len(data) == BLOCK and not data.strip(b"\0")
        return data

    def seek(self, position: int, whence: int = 0, /) -> int:
        if whence != 0 or position < self._position:
            raise ArchiveError("a header points backwards")
        while self._position < position:
            if not self.read(min(CHUNK, position - self._position)):
                raise ArchiveError("it is cut short")
        return self._position

    def drain(self) -> None:
        """Read to the end, so that the gzip check sum is compared and trailing bytes count too."""
        while self.read(CHUNK):
            pass


class Reader:
    """The members of an archive in order; `read` gives the data of the one that came last.

    Raises ArchiveError for anything broken or beyond the limit. Names and kinds are checked as far as one
    member can be judged alone; `archive.extract` checks them against one another.
    """

    def __init__(self, source: Source, *, limit: int = DEFAULT_LIMIT) -> None:
        with _reading():
            self._stream = _Forward(source, limit)
            self._tar = tarfile.TarFile(
                fileobj=cast("IO[bytes]", self._stream), mode="r", encoding="utf-8", errors="surrogateescape"
            )
        self._left = 0

    def __iter__(self) -> Iterator[Member]:
        count = 0
        while (entry := self._next()) is not None:
            count += 1
            if count > MEMBER_LIMIT:
                raise ArchiveError(f"it has more than {MEMBER_LIMIT} members")
            yield entry
        if not self._stream.last_block_was_empty:
            raise ArchiveError("it is cut short or damaged")
        with _reading():
            self._stream.drain()

    def _next(self) -> Member | None:
        while True:
            with _reading():
                found = self._tar.next()
            cast("Any", self._tar).members.clear()  # it would remember every member
            if found is None:
                return None
            if len(self._tar.pax_headers) > GLOBAL_RECORD_LIMIT:
                raise ArchiveError("too many global header records")
            member = _member(found)
            if member is None:
                continue
            self._left = member.size
            with _reading():
                self._stream.seek(found.offset_data)
            return member

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of the current member's data; none at its end."""
        wanted = min(size, self._left, CHUNK)
        if wanted == 0:
            return b""
        with _reading():
            data = self._stream.read(wanted)
        if not data:
            raise ArchiveError("it is cut short")
        self._left -= len(data)
        return data


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Everything a hostile archive can raise in the standard library becomes an ArchiveError."""
    try:
        yield
    except ArchiveError:
        raise
    except (
        tarfile.TarError,
        EOFError,
        zlib.error,
        OSError,
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ArchiveError(f"it is not a readable archive ({str(error) or type(error).__name__})") from error


def _member(entry: tarfile.TarInfo) -> Member | None:
    """The entry judged alone; None for the top directory itself."""
    shown = json.dumps(entry.name)[:200]
    if entry.issparse():
        raise ArchiveError(f"{shown}: sparse files are refused")
    if entry.isreg():
        kind = FILE
    elif entry.isdir():
        kind = DIRECTORY
    elif entry.issym():
        kind = SYMLINK
    elif entry.islnk():
        kind = HARDLINK
    else:
        raise ArchiveError(f"{shown}: devices, fifos and other special members are refused")
    if kind in (FILE, HARDLINK) and entry.mode & (stat.S_ISUID | stat.S_ISGID):
        raise ArchiveError(f"{shown}: set-user-ID and set-group-ID files are refused")
    if entry.size < 0:
        raise ArchiveError(f"{shown}: negative size")
    name = clean_name(entry.name)
    if not name:
        if kind == DIRECTORY:
            return None
        raise ArchiveError(f"{shown}: empty name")
    target = ""
    if kind == SYMLINK:
        target = check_symlink(name, entry.linkname)
    elif kind == HARDLINK:
        target = clean_name(entry.linkname)
    size = entry.size if kind == FILE else 0
    return Member(name, kind, size, entry.mode & 0o777, min(max(int(entry.mtime), 0), 2**33), target)


def clean_name(name: str) -> str:
    """A member name without `.` and doubled slashes, `` for the top directory.

    Raises ArchiveError for an absolute name, one with `..` or NUL, and one no file system takes.
    """
    shown = json.dumps(name)[:200]
    if name.startswith("/"):
        raise ArchiveError(f"{shown}: absolute names are refused")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ArchiveError(f"{shown}: names with '..' are refused")
    if "\0" in name or len(os.fsencode(name)) > PATH_LIMIT or any(len(os.fsencode(part)) > 255 for part in parts):
        raise ArchiveError(f"{shown}: the name is too long or has a NUL")
    return "/".join(parts)


def check_symlink(name: str, target: str) -> str:
    shown = f"{json.dumps(name)[:200]} -> {json.dumps(target)[:200]}"
    if not target or target.startswith("/") or "\0" in target or len(os.fsencode(target)) > PATH_LIMIT:
        raise ArchiveError(f"{shown}: the link leaves the tree")
    parts = [part for part in target.split("/") if part not in ("", ".")]
    climbs = 0
    while climbs < len(parts) and parts[climbs] == "..":
        climbs += 1
    if climbs > name.count("/") or ".." in parts[climbs:]:
        raise ArchiveError(f"{shown}: the link leaves the tree")
    return target
