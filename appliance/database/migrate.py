"""
Brings the file to the schema of this version.

A new file gets the tables at once, one that is up to date is left alone, and only an older one needs
Alembic: it is copied first and migrated by a child process (`python -m appliance.database.upgrade PATH`),
since Alembic would stay in the server's memory. What is left here does without SQLAlchemy, see `core`.
"""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from appliance.database.errors import DatabaseCorrupt, MigrationError, NewerDatabase
from appliance.database.file import BACKUP_INFIX, backups, connect, explain, make_private
from appliance.files import fsync_directory

REVISIONS: Final = ("0001", "0002", "0003", "0004")
"""Every revision of the schema from the first to the one of `schema.sql`."""

KEPT_BACKUPS: Final = 3
MIGRATION_TIMEOUT: Final = 900.0
"""Seconds the child may take."""

_STDERR_TAIL = 2000
_ROOT = Path(__file__).absolute().parents[2]
_SCHEMA = Path(__file__).with_name("schema.sql")


class History(NamedTuple):
    """
    The revisions of a schema in order, and the directory of the Alembic environment that has them.

    `schema` is the SQL that makes the tables of the last revision at once, `version_table` where the revision that
    was reached stands: a surface that brings tables of its own has a history of its own, beside the others' in one
    database.
    """

    revisions: tuple[str, ...]
    directory: Path
    schema: Path = _SCHEMA
    version_table: str = "alembic_version"


HISTORY: Final = History(REVISIONS, Path(__file__).parent / "migrations")


def prepare(path: Path, history: History = HISTORY, *others: History, timeout: float = MIGRATION_TIMEOUT) -> None:
    """
    Make the file ready for `file.connect`, with the tables of `history` and those of `others` beside them. Blocks.

    Raises `DatabaseCorrupt`, `DatabaseBusy`, `DatabaseUnavailable`, `MigrationError` or `NewerDatabase`.
    """
    make_private(path)
    try:
        if _is_foreign(path, history):
            raise MigrationError(f"database {path} was not made by this program: it names no revision")
        for each in (history, *others):
            found = _revision(path, each)
            if found is None:
                _create(path, each)
            elif found != each.revisions[-1]:
                _migrate(path, found, each, timeout)
    except Exception as error:
        raise explain(error, path) from error.__cause__


def back_up(path: Path, revision: str) -> Path:
    """
    Copy the database to `NAME.before-REVISION` and drop all but the newest copies.

    Raises `DatabaseCorrupt` when the file does not stand a check, `MigrationError` when it cannot be copied.
    """
    target = path.with_name(f"{path.name}{BACKUP_INFIX}{revision}")
    temporary = target.with_name(target.name + ".tmp")
    try:
        temporary.unlink(missing_ok=True)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise DatabaseCorrupt(path, verdict, next(iter(backups(path)), None))
            connection.execute("VACUUM INTO ?", (str(temporary),))
        with temporary.open("rb") as copy:
            os.fsync(copy.fileno())
        temporary.rename(target)
        fsync_directory(target.parent)
        for old in backups(path)[KEPT_BACKUPS:]:
            old.unlink()
    except (OSError, sqlite3.Error) as error:
        explained = explain(error, path)
        if isinstance(explained, DatabaseCorrupt):
            raise explained from error
        raise MigrationError(f"database {path} cannot be copied before its migration: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _tables(path: Path) -> set[str]:
    with closing(connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _is_foreign(path: Path, history: History) -> bool:
    """Whether there are tables, and none that says which revision they are of."""
    names = _tables(path)
    return bool(names) and history.version_table not in names


def _revision(path: Path, history: History) -> str | None:
    """The revision written in the file; None when it has no tables of this history yet."""
    if history.version_table not in _tables(path):
        return None
    with closing(connect(path)) as connection:
        found = connection.execute(f"SELECT version_num FROM {history.version_table}").fetchall()  # noqa: S608 - ours
    if len(found) != 1:
        raise MigrationError(f"database {path} names {len(found)} revisions instead of one")
    return str(found[0][0])


def _create(path: Path, history: History) -> None:
    script = history.schema.read_text(encoding="utf-8")
    with closing(connect(path)) as connection:
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nCOMMIT;")


def _migrate(path: Path, found: str, history: History, timeout: float) -> None:
    head = history.revisions[-1]
    if found not in history.revisions:
        raise NewerDatabase(
            f"database {path} was made by a newer version (its revision {found} is unknown here, the last is"
            f" {head}): install that version again, or put back a backup of the file"
        )
    backup = back_up(path, found)
    upgrade_in_child(str(path), history, timeout)
    reached = _revision(path, history)
    if reached != head:
        raise MigrationError(f"database {path} is at {reached} after the migration, not {head}; see {backup}")


def upgrade_in_child(target: str, history: History, timeout: float = MIGRATION_TIMEOUT) -> None:
    """
    Bring `target`, a file or the URL of a server, to the last revision, by Alembic in a child process. Blocks.

    Raises `MigrationError`. Only the kind of an URL is repeated in it: it may hold a password, and so it goes to the
    child by its input.
    """
    shown = target.partition("://")[0] + "://…" if "://" in target else target
    # -P: nothing from the working directory. Else the path as it is here, for the child to find the same
    # code.
    command = [sys.executable, "-P", "-m", "appliance.database.upgrade", "--directory", str(history.directory)]
    command += ["--version-table", history.version_table]
    environment = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(filter(os.path.isabs, (str(_ROOT), *sys.path))),
    }
    try:
        child = subprocess.run(
            command,
            input=os.fsencode(target),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            timeout=timeout,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MigrationError(f"the migration of {shown} was stopped after {timeout:g} s") from error
    except OSError as error:
        raise MigrationError(f"the migration of {shown} cannot be started: {error}") from error
    if child.returncode:
        tail = child.stderr.decode(errors="replace").strip()[-_STDERR_TAIL:]
        raise MigrationError(f"the migration of {shown} failed ({child.returncode}): {tail}")
