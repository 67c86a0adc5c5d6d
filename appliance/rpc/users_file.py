"""`rpc-users.toml`: local users, and the rights of the host's users and groups."""

import hashlib
import os
import re
import tomllib
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from appliance.files import FileTooLarge, NotARegularFile, read_limited
from appliance.rpc.acl import Rights
from appliance.rpc.watched import Stamp, Watched
from appliance.threads import Threads

FILE_LIMIT: Final = 1 << 20
USER_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")
"""Names that local users may have."""

_log = Logger()


class BadUsersFile(Exception):
    """The file cannot be used; the text says why."""


class User(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[user.NAME]`: one with a `password_hash` is a local user, one without adds to the rights of a host's user."""

    password_hash: str | None = None
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()

    @property
    def rights(self) -> Rights:
        """What the two lists grant."""
        return Rights(self.read, self.write)

    @property
    def credential(self) -> str:
        """A mark of the password, by which a session knows that it has been changed."""
        return hashlib.sha256((self.password_hash or "").encode()).hexdigest()[:32]


class GroupRights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[group.NAME]`: what the members of a group of the host get."""

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()

    @property
    def rights(self) -> Rights:
        """What the two lists grant."""
        return Rights(self.read, self.write)


class UsersFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    user: dict[str, User] = {}
    group: dict[str, GroupRights] = {}


def parse(raw: bytes) -> UsersFile:
    """The content of the file. Raises `BadUsersFile`."""
    try:
        content = tomllib.loads(raw.decode())
        found = msgspec.convert(content, UsersFile)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BadUsersFile(str(error)) from None
    for name, user in found.user.items():
        if user.password_hash is not None and USER_NAME.fullmatch(name) is None:
            raise BadUsersFile(f"user {name!r}: a name has letters, digits and _ . @ - only, at most 64")
    return found


def read(path: Path) -> UsersFile:
    """The file at `path`, empty where there is none. Blocking; raises `BadUsersFile` and OSError."""
    try:
        return parse(read_limited(path, FILE_LIMIT))
    except FileNotFoundError:
        return UsersFile()
    except (FileTooLarge, NotARegularFile) as error:
        raise BadUsersFile(str(error)) from None


def watch_users(clock: IReactorTime, threads: Threads, path: Path) -> Watched[UsersFile]:
    """The file as it is now; while it cannot be used, which is logged as an error, what it was before."""
    return Watched(clock, threads, partial(_stamp, path), partial(_read_again, path), UsersFile())


def _read_again(path: Path, before: UsersFile) -> UsersFile:
    try:
        if path.exists() and path.stat().st_mode & 0o077:
            _log.warn("{path}, which holds hashes of passwords, is open to others: chmod 600 {path}", path=str(path))
        return read(path)
    except (BadUsersFile, OSError) as error:
        _log.error("{path} is not taken over, what it was before holds: {error}", path=str(path), error=error)
        return before


def _stamp(path: Path) -> Stamp:
    try:
        found = os.stat(path)
    except OSError as error:
        return ((error.errno,),)
    return ((found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns),)
