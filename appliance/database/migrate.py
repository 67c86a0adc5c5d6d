"""
Brings the file to the schema of this version.

A new file gets the tables at once, one that is up to date is left alone, and only an older one needs
Alembic: it is copied first and migrated by a child process (`python -m appliance.database.migrate PATH`),
since Alembic would stay in the server's memory.
"""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import Engine, insert

from appliance.database import schema
from appliance.database.engine import BACKUP_INFIX, backups, explain, make_engine, make_private
from appliance.database.errors import DatabaseCorrupt, MigrationError, NewerDatabase
from appliance.files import fsync_directory

KEPT_BACKUPS: Final = 3
MIGRATION_TIMEOUT: Final = 900.0
"""Seconds the child may take."""

_STDERR_TAIL = 2000
_ROOT = Path(__file__).absolute().parents[2]


class History(NamedTuple):
    """The revisions of the schema in order, and the directory of the Alembic environment that has them."""

    revisions: tuple[str, ...]
    directory: Path


HISTORY: Final = History(schema.REVISIONS, Path(__file__).parent / "migrations")


def prepare(path: Path, history: History = HISTORY, timeout: float = MIGRATION_TIMEOUT) -> Engine:
    """
    Make the file ready and return an engine for it. Blocks.

    Raises `DatabaseCorrupt`, `DatabaseBusy`, `DatabaseUnavailable`, `MigrationError` or `NewerDatabase`.
    """
    make_private(path)
    engine = make_engine(path)
    try:
        found = _revision(engine, path)
        if found is None:
            _create(engine)
        elif found != history.revisions[-1]:
            _migrate(engine, path, found, history, timeout)
    except Exception as error:
        raise explain(error, path) from error.__cause__
    return engine


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


def upgrade(path: Path, directory: Path = HISTORY.directory) -> None:
    """Run Alembic here and now, in one transaction. For the child process; raises whatever goes wrong."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(directory).replace("%", "%%"))
    # Rebuilding a table would delete what refers to it: checked at the end instead.
    engine = make_engine(path, foreign_keys=False)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        orphan = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if orphan is not None:
            raise MigrationError(f"a row of {orphan[0]} would refer to a missing row of {orphan[2]}")


def main(arguments: list[str]) -> int:
    """Upgrade the database named on the command line; errors go to stderr."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m appliance.database.migrate")
    parser.add_argument("path", type=Path)
    parser.add_argument("--directory", type=Path, default=HISTORY.directory, help="Alembic's environment")
    options = parser.parse_args(arguments)
    upgrade(options.path, options.directory)
    return 0


def _revision(engine: Engine, path: Path) -> str | None:
    """The revision written in the file; None when it has no tables yet."""
    with engine.begin() as connection:
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars()
        names = set(tables)
        if not names:
            return None
        if schema.revision.name not in names:
            raise MigrationError(f"database {path} was not made by this program: it names no revision")
        found = connection.execute(schema.revision.select()).scalars().all()
    if len(found) != 1:
        raise MigrationError(f"database {path} names {len(found)} revisions instead of one")
    return str(found[0])


def _create(engine: Engine) -> None:
    with engine.begin() as connection:
        schema.metadata.create_all(connection, checkfirst=False)
        connection.execute(insert(schema.revision).values(version_num=schema.HEAD))


def _migrate(engine: Engine, path: Path, found: str, history: History, timeout: float) -> None:
    head = history.revisions[-1]
    if found not in history.revisions:
        raise NewerDatabase(
            f"database {path} was made by a newer version (its revision {found} is unknown here, the last is"
            f" {head}): install that version again, or put back a backup of the file"
        )
    backup = back_up(path, found)
    _run_child(path, history.directory, timeout)
    reached = _revision(engine, path)
    if reached != head:
        raise MigrationError(f"database {path} is at {reached} after the migration, not {head}; see {backup}")


def _run_child(path: Path, directory: Path, timeout: float) -> None:
    # -P: nothing from the working directory. Else the path as it is here, for the child to find the same
    # code.
    command = [sys.executable, "-P", "-m", __spec__.name, "--directory", str(directory), "--", str(path)]
    environment = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(filter(os.path.isabs, (str(_ROOT), *sys.path))),
    }
    try:
        child = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            timeout=timeout,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MigrationError(f"the migration of {path} was stopped after {timeout:g} s") from error
    except OSError as error:
        raise MigrationError(f"the migration of {path} cannot be started: {error}") from error
    if child.returncode:
        tail = child.stderr.decode(errors="replace").strip()[-_STDERR_TAIL:]
        raise MigrationError(f"the migration of {path} failed ({child.returncode}): {tail}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
