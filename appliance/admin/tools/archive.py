"""Lists and extracts tar archives of strangers; `archive_reader` has the rules for each of their members.

Stand-alone, standard library only:

    archive.py list ARCHIVE [--limit BYTES]
    archive.py extract ARCHIVE DESTINATION [--only NAME...] [--limit BYTES]

ARCHIVE may be `-` for standard input. Exit code 0 is success, 1 a refused or broken archive with the reason
on standard error, 2 wrong usage. What was extracted before a refusal stays: callers extract into a directory
of their own.

A name stands once (a directory may come again), no member lies below a link, and a hard link names a file that
the same archive brought. Since a symbolic link by itself stays in the tree, no chain of links leads outside.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from appliance.admin.tools.archive_reader import (
        CHUNK,
        DEFAULT_LIMIT,
        DIRECTORY,
        FILE,
        HARDLINK,
        SYMLINK,
        ArchiveError,
        Member,
        Reader,
        Source,
    )
else:  # as a program, isolated: the folder of this file is not on the path
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from archive_reader import (
        CHUNK,
        DEFAULT_LIMIT,
        DIRECTORY,
        FILE,
        HARDLINK,
        SYMLINK,
        ArchiveError,
        Member,
        Reader,
        Source,
    )

# The share of the free space that an archive may fill.
FREE_SPACE_SHARE = 0.95


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
