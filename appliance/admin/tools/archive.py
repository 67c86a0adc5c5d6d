"""Reads tar archives of strangers: strict member rules, bounded sizes, plain tar or gzip.

Stand-alone, standard library only:

    archive.py list ARCHIVE [--limit BYTES]
    archive.py extract ARCHIVE DESTINATION [--only NAME...] [--limit BYTES]

ARCHIVE may be `-` for standard input. Exit code 0 is success, 1 a refused or broken archive with the reason
on standard error, 2 wrong usage. What was extracted before a refusal stays: callers extract into a directory
of their own.

The rules. A name is relative, has no `..` and stands once (a directory may come again). Members are files,
directories and links; devices, fifos, sparse files and set-user-ID or set-group-ID files are refused. No
member lies below a link. A symbolic link is relative, may climb with `..` at its beginning only, and not out
of the tree: together with the rule before, no chain of links leads outside. A hard link names a file that the
same archive brought. Every byte unpacked counts against the limit, headers and padding too. The archive must
have its end marker, so a cut one is not taken for whole. Formats: POSIX.1-2017 pax (ustar), and the GNU tar
manual, "Basic Tar Format".
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import stat
import sys
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterator
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
# The share of the free space that an archive may fill.
FREE_SPACE_SHARE = 0.95

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
    member can be judged alone; `extract` checks them against one another.
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


class _Tree:
    """Creates members below one directory. Each directory on the way is opened without following links."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._kinds: dict[str, str] = {}
        self._modes: dict[str, int] = {}

    def add(self, member: Member, read: Callable[[int], bytes]) -> None:
        """Create the member. Raises ArchiveError for a clash with an earlier one, OSError."""
        self._claim(member)
        *above, leaf = member.name.split("/")
        with self._directory(above) as parent:
            if member.kind == DIRECTORY:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(leaf, 0o700, dir_fd=parent)
                self._modes[member.name] = member.mode
            elif member.kind == SYMLINK:
                os.symlink(member.target, leaf, dir_fd=parent)
            elif member.kind == HARDLINK:
                *beside, file = member.target.split("/")
                with self._directory(beside) as source:
                    os.link(file, leaf, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
            else:
                self._write(parent, leaf, member, read)

    def finish(self) -> None:
        """Give the directories their permissions, deepest first."""
        for name in sorted(self._modes, reverse=True):
            with self._directory(name.split("/")) as directory:
                os.fchmod(directory, (self._modes[name] & ~0o022) | 0o700)

    def _claim(self, member: Member) -> None:
        shown = json.dumps(member.name)[:200]
        parts = member.name.split("/")
        for depth in range(1, len(parts)):
            if self._kinds.setdefault("/".join(parts[:depth]), DIRECTORY) != DIRECTORY:
                raise ArchiveError(f"{shown}: lies below a link or a file")
        known = self._kinds.get(member.name)
        if known is not None and not known == member.kind == DIRECTORY:
            raise ArchiveError(f"{shown}: the name stands twice")
        if member.kind == HARDLINK and self._kinds.get(member.target) not in (FILE, HARDLINK):
            raise ArchiveError(f"{shown}: links to something that is no file of this archive")
        self._kinds[member.name] = member.kind

    @contextlib.contextmanager
    def _directory(self, parts: list[str]) -> Iterator[int]:
        """The directory of that path as a descriptor, made where missing."""
        current = os.dup(self._top)
        try:
            for part in parts:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=current)
                deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=current)
                os.close(current)
                current = deeper
            yield current
        finally:
            os.close(current)

    @staticmethod
    def _write(parent: int, leaf: str, member: Member, read: Callable[[int], bytes]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(leaf, flags, 0o600, dir_fd=parent), "wb") as file:
            while data := read(CHUNK):
                file.write(data)
            file.flush()
            os.fchmod(file.fileno(), (member.mode & ~0o022) | 0o600)
            os.utime(file.fileno(), (member.mtime, member.mtime))


def extract(
    source: Source,
    destination: str,
    *,
    only: Collection[str] | None = None,
    limit: int = DEFAULT_LIMIT,
    accept: Callable[[Member], None] = lambda member: None,
) -> list[str]:
    """Unpack into `destination`, an existing directory of the caller's own, and return the names unpacked.

    With `only`, just those members, which must all be there and plain files; others are passed over. `accept`
    may refuse a member by raising ArchiveError before it is created. `limit` in bytes is lowered to what the
    file system has free. Everything belongs to the calling user; write permission of group and others is
    dropped. Raises ArchiveError, OSError.
    """
    space = os.statvfs(destination)
    limit = min(limit, int(space.f_bavail * space.f_frsize * FREE_SPACE_SHARE))
    wanted = None if only is None else set(only)
    names: list[str] = []
    top = os.open(destination, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        tree = _Tree(top)
        reader = Reader(source, limit=limit)
        for member in _select(reader, wanted):
            accept(member)
            try:
                tree.add(member, reader.read)
            except FileExistsError as error:
                raise ArchiveError(f"{json.dumps(member.name)[:200]}: something of that name is there") from error
            names.append(member.name)
        tree.finish()
    finally:
        os.close(top)
    if wanted is not None and (missing := wanted.difference(names)):
        raise ArchiveError(f"{', '.join(sorted(missing))}: not in the archive")
    return names


def _select(reader: Reader, wanted: Collection[str] | None) -> Iterator[Member]:
    for member in reader:
        if wanted is None:
            yield member
        elif member.name in wanted:
            if member.kind != FILE:
                raise ArchiveError(f"{member.name}: is not a plain file")
            yield member


def _list(source: Source, limit: int) -> None:
    for member in Reader(source, limit=limit):
        line = {"name": member.name, "kind": member.kind, "size": member.size, "mode": f"{member.mode:04o}"}
        print(json.dumps(line | ({"target": member.target} if member.target else {})))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="archive.py", description="List or extract a tar archive under strict rules.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("list", "extract"):
        command = commands.add_parser(name)
        command.add_argument("archive", help="a file, or - for standard input")
        command.add_argument("--limit", type=int, default=DEFAULT_LIMIT, help="most bytes unpacked")
        if name == "extract":
            command.add_argument("destination")
            command.add_argument("--only", nargs="+", metavar="NAME")
    given = parser.parse_args(arguments)
    os.umask(0o077)
    try:
        with sys.stdin.buffer if given.archive == "-" else open(given.archive, "rb") as source:
            if given.command == "list":
                _list(source, given.limit)
            else:
                os.makedirs(given.destination, exist_ok=True)
                extract(source, given.destination, only=given.only, limit=given.limit)
    except (ArchiveError, OSError) as error:
        print(f"archive refused: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
