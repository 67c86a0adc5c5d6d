"""The ACL files of all folders, read again when one of them has changed."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from appliance.files import FileTooLarge, NotARegularFile, read_limited
from appliance.rpc.acl import Acls, BadAcl, Group, parse
from appliance.rpc.watched import Stamp, Watched
from appliance.threads import Threads

FILE_LIMIT = 1 << 20
MAX_FILES = 1000

_log = Logger()


def watch_acls(clock: IReactorTime, threads: Threads, folders: Sequence[Path]) -> Watched[Acls]:
    """The groups of the files `*.json` in `folders`; one that is none is left out, which is logged as an error."""
    nothing: Acls = {}
    return Watched(clock, threads, partial(_stamp, folders), partial(_read_again, folders), nothing)


def read_acls(folders: Sequence[Path]) -> Acls:
    """The same, once. Blocking."""
    return _read_again(folders, {})


def _read_again(folders: Sequence[Path], before: Acls) -> Acls:
    groups: dict[str, list[Group]] = {}
    for path in _paths(folders):
        try:
            found = parse(read_limited(path, FILE_LIMIT))
        except (OSError, FileTooLarge, NotARegularFile, BadAcl) as error:
            _log.error("ACL file {path} is left out: {error}", path=str(path), error=error)
            continue
        for name, group in found.items():
            groups.setdefault(name, []).append(group)
    return groups


def _stamp(folders: Sequence[Path]) -> Stamp:
    return tuple(_of_file(path) for path in _paths(folders))


def _paths(folders: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for folder in folders:
        try:
            names = sorted(name for name in os.listdir(folder) if name.endswith(".json") and name[0] != ".")
        except OSError:
            continue  # a folder that is not there (yet) holds no files
        found += [folder / name for name in names]
    if len(found) > MAX_FILES:
        _log.error("More than {limit} ACL files: the rest is left out", limit=MAX_FILES)
    return found[:MAX_FILES]


def _of_file(path: Path) -> tuple[object, ...]:
    try:
        found = os.stat(path)
    except OSError as error:
        return str(path), error.errno
    return str(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
