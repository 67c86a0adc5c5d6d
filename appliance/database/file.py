"""
The file of the database and connections to it, by the standard library's `sqlite3` alone.

Opening a database needs no more than this, which is why SQLAlchemy is not imported here: see `core`.
"""

import os
import re
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from appliance.database.errors import DatabaseBusy, DatabaseCorrupt, DatabaseError, DatabaseUnavailable
from appliance.files import fsync_directory

if TYPE_CHECKING:
    from sqlalchemy import Connection

BUSY_TIMEOUT: Final = 5.0
"""Seconds to wait for another process that holds the write lock."""

JOURNAL_KEPT: Final = 4 << 20
"""Bytes of the write-ahead log that stay allocated after a checkpoint, however large it once was."""

BACKUP_INFIX: Final = ".before-"


def locate(url_or_path: str | os.PathLike[str]) -> Path:
    """
    The file meant by a path or by an URL `sqlite:///path`, of which nothing is decoded.

    Raises `DatabaseError` for anything else: in memory nothing would be durable.
    """
    text = os.fspath(url_or_path)
    if scheme := re.match(r"[a-z][a-z0-9+]*://", text):
        # Only the scheme is repeated: an URL may hold a password.
        if not (url := re.fullmatch(r"sqlite(?:\+pysqlite)?:///([^?]*)", text, re.DOTALL)):
            raise DatabaseError(f"the database must be sqlite:///PATH, not {scheme[0]}…")
        text = url[1]
    if text in ("", ":memory:"):
        raise DatabaseError("the database needs a file")
    return Path(text).absolute()


def connect(path: Path, *, foreign_keys: bool = True) -> sqlite3.Connection:
    """
    A connection that is durable on commit and begins a transaction only when it is told to.

    The driver's own transactions are off (`isolation_level=None`), so that SAVEPOINT means what it says. Raises
    `DatabaseUnavailable` and the driver's errors.
    """
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT)
    try:
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise DatabaseUnavailable(f"database {path}: its file system has no shared memory for WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA journal_size_limit={JOURNAL_KEPT}")
        connection.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
        connection.execute("PRAGMA trusted_schema=OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def driver(connection: "Connection") -> sqlite3.Connection:
    """The connection of the driver that one of SQLAlchemy stands on."""
    return cast(sqlite3.Connection, connection.connection.dbapi_connection)


def make_private(path: Path) -> None:
    """
    Create the file if it is missing, and take it (and its journals) away from everybody but the owner.

    SQLite gives journals it makes the permissions of the file. Raises `DatabaseUnavailable`.
    """
    try:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            fsync_directory(path.parent)
        except FileExistsError:
            if not stat.S_ISREG(path.stat().st_mode):
                raise DatabaseUnavailable(f"database {path} is not a regular file") from None
        for file in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))):
            if file.exists():
                file.chmod(0o600)
    except OSError as error:
        raise DatabaseUnavailable(f"database {path} cannot be opened: {error.strerror}") from error


def backups(path: Path) -> list[Path]:
    """The copies made of the file before migrations, newest first."""
    found: list[tuple[int, Path]] = []
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if entry.name.startswith(path.name + BACKUP_INFIX) and not entry.name.endswith(".tmp"):
                found.append((entry.stat().st_mtime_ns, Path(entry.path)))
    return [backup for _, backup in sorted(found, reverse=True)]


def explain(error: BaseException, path: Path) -> BaseException:
    """The error of this package that `error` stands for, or `error` itself when the statement is at fault."""
    cause = getattr(error, "orig", error)  # SQLAlchemy's own errors carry the driver's
    if not isinstance(cause, sqlite3.Error):
        return error
    code = (getattr(cause, "sqlite_errorcode", None) or 0) & 0xFF
    reason = str(cause)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        explained: DatabaseError = DatabaseCorrupt(path, reason, next(iter(backups(path)), None))
    elif code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        explained = DatabaseBusy(f"database {path} is held by another process ({reason})")
    elif code in _UNAVAILABLE:
        explained = DatabaseUnavailable(f"database {path}: {reason}")
    else:
        return error
    explained.__cause__ = error
    return explained


_UNAVAILABLE = frozenset(
    (
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOLFS,
        sqlite3.SQLITE_PROTOCOL,
    )
)
