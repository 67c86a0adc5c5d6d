"""Puts the files of a backup, or of a prepared folder, in place as one step that survives kill -9.

Stand-alone, standard library only:

    restore.py apply ARCHIVE ROOT [--protect PATH...] [--limit BYTES]
    restore.py install FOLDER ROOT [--remove NAME...]
    restore.py recover ROOT

`apply` refuses an archive by the rules of archive.py and archive_reader.py, and one that holds tokens, private
keys, keys that decide what is trusted, or anything at or below a protected path; then nothing is changed.
`install` takes the files of a folder and removes further names in the same step. `recover` undoes, or completes,
what a killed process left; the two others do that first, and the server does it when it starts. See swap.py for
how. Exit codes: 0 done, 1 refused or failed with the reason on standard error and the old state in place, 2 wrong
usage.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shutil
import sys
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from appliance.admin.tools.archive import extract
    from appliance.admin.tools.archive_reader import DEFAULT_LIMIT, SYMLINK, ArchiveError, Member
    from appliance.admin.tools.swap import Swap, SwapError
else:  # as a program, isolated: the folder of this file is not on the path
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from archive import extract
    from archive_reader import DEFAULT_LIMIT, SYMLINK, ArchiveError, Member
    from swap import Swap, SwapError

# What a backup never holds, and a restore never brings: the keys to this surface and to its updates.
SECRET_NAMES = ("api.token*", "*.key", "*.private.pem", "updates.pub", "license.pub")


class RestoreError(Exception):
    """The restore was refused or failed; the old state is in place."""


def apply(archive: str, root: str, *, protected: Collection[str] = (), limit: int = DEFAULT_LIMIT, swap: Swap) -> None:
    """Put the members of `archive` in their places below `root`. Raises RestoreError."""
    refuse = _guard(os.path.realpath(root), protected)
    try:
        with swap.lock(), open(archive, "rb") as source:
            try:
                extract(source, swap.prepare(), accept=refuse, limit=limit)
                swap.commit()
            except BaseException:
                swap.abandon()
                raise
    except (ArchiveError, SwapError, OSError) as error:
        raise RestoreError(str(error)) from error


def install(folder: str, remove: Collection[str], *, swap: Swap) -> None:
    """Put copies of the files of `folder` in their places, remove the names `remove`. Raises RestoreError."""
    try:
        with swap.lock():
            try:
                shutil.copytree(folder, swap.prepare(), symlinks=True, dirs_exist_ok=True)
                swap.commit(remove)
            except BaseException:
                swap.abandon()
                raise
    except (SwapError, OSError) as error:
        raise RestoreError(str(error)) from error


def recover(swap: Swap) -> None:
    """Undo or complete what a killed process left. Raises RestoreError."""
    try:
        with swap.lock():
            pass
    except (SwapError, OSError) as error:
        raise RestoreError(str(error)) from error


def _guard(root: str, protected: Collection[str]) -> Callable[[Member], None]:
    guarded = [os.path.realpath(path) for path in protected]

    def forbidden(name: str) -> bool:
        place = os.path.realpath(os.path.join(root, name))
        return any(
            fnmatch.fnmatchcase(part.lower(), secret) for part in name.split("/") for secret in SECRET_NAMES
        ) or any(place == path or place.startswith(path + "/") for path in guarded)

    def refuse(member: Member) -> None:
        names = [member.name]
        if member.kind == SYMLINK:  # reading or writing through it would reach the same files
            names.append(os.path.join(os.path.dirname(member.name), member.target))
        if any(map(forbidden, names)):
            raise ArchiveError(f"{json.dumps(member.name)[:200]}: a backup must not bring this")

    return refuse


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="restore.py", description="Put files in place as one step.")
    commands = parser.add_subparsers(dest="command", required=True)
    applying = commands.add_parser("apply")
    applying.add_argument("archive")
    applying.add_argument("--protect", nargs="*", default=[], metavar="PATH")
    applying.add_argument("--limit", type=int, default=DEFAULT_LIMIT, help="most bytes unpacked")
    installing = commands.add_parser("install")
    installing.add_argument("folder")
    installing.add_argument("--remove", nargs="*", default=[], metavar="NAME")
    recovering = commands.add_parser("recover")
    for command in (applying, installing, recovering):
        command.add_argument("root")
    given = parser.parse_args(arguments)
    os.umask(0o077)
    swap = Swap(given.root)
    try:
        if given.command == "apply":
            apply(given.archive, given.root, protected=given.protect, limit=given.limit, swap=swap)
        elif given.command == "install":
            install(given.folder, given.remove, swap=swap)
        else:
            recover(swap)
    except RestoreError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
