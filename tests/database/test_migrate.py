import os
import shutil
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from appliance.database import schema
from appliance.database.engine import make_engine
from appliance.database.errors import (
    DatabaseBusy,
    DatabaseCorrupt,
    DatabaseUnavailable,
    MigrationError,
    NewerDatabase,
)
from appliance.database.migrate import HISTORY, REVISIONS, History, back_up, prepare
from appliance.database.upgrade import main, upgrade

CURRENT = HISTORY.revisions[-1]
FOLLOWING = f"{int(CURRENT) + 1:04}"

NEXT = f"""
import sqlalchemy as sa
from alembic import op

revision = "{FOLLOWING}"
down_revision = "{CURRENT}"


def upgrade() -> None:
    op.create_table("fruit", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))
    op.execute("INSERT INTO fruit SELECT rowid, nonce FROM nonces_view")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "50% [new] #1.db"


@pytest.fixture(autouse=True)
def state(path: Path) -> None:
    path.parent.mkdir()


@pytest.fixture
def later(tmp_path: Path) -> History:
    """A later version of the program: one revision more, which works."""
    return following(tmp_path, NEXT.replace("SELECT rowid, nonce FROM nonces_view", "SELECT 1, nonce FROM nonces"))


def following(tmp_path: Path, source: str) -> History:
    directory = tmp_path / "later 100%"
    shutil.copytree(HISTORY.directory, directory, ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "versions" / f"{FOLLOWING}_fruit.py").write_text(source)
    return History((*HISTORY.revisions, FOLLOWING), directory)


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def insert_nonce(path: Path, *nonces: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany("INSERT INTO nonces VALUES ('s', ?, 1)", [(nonce,) for nonce in nonces])


def shape(path: Path) -> list[tuple[object, ...]]:
    rows = query(path, "SELECT type, name, tbl_name, sql FROM sqlite_master")
    return sorted((*row[:3], " ".join(str(row[3]).split())) for row in rows)


def test_new_file_equals_all_migrations(path: Path) -> None:
    migrated = path.with_name("migrated.db")
    prepare(path)
    upgrade(migrated)
    assert shape(path) == shape(migrated)
    assert len(shape(path)) > 10
    for file in (path, migrated):
        assert query(file, "SELECT * FROM alembic_version") == [(REVISIONS[-1],)]


def test_revisions_are_those_of_alembic() -> None:
    config = Config()
    config.set_main_option("script_location", str(HISTORY.directory))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [REVISIONS[-1]]
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == REVISIONS


def test_new_file_has_the_tables_of_the_schema(path: Path) -> None:
    described = path.with_name("described.db")
    engine = make_engine(described)
    schema.metadata.create_all(engine)
    engine.dispose()
    prepare(path)
    made = [row for row in shape(path) if row[0] != "trigger" and row[2] != "alembic_version"]
    assert made == shape(described)
    assert {row[1] for row in made if row[0] == "table"} == set(schema.metadata.tables)


def test_creation_that_was_interrupted_starts_again(path: Path) -> None:
    path.touch()
    prepare(path)
    assert query(path, "SELECT * FROM alembic_version") == [(REVISIONS[-1],)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    prepare(path)
    assert os.listdir(path.parent) == [path.name]


def test_older_file_is_copied_and_migrated(path: Path, later: History) -> None:
    prepare(path)
    insert_nonce(path, "apple")
    prepare(path, later)
    assert query(path, "SELECT * FROM fruit") == [(1, "apple")]
    backup = path.with_name(path.name + ".before-" + CURRENT)
    assert sorted(os.listdir(path.parent)) == [path.name, backup.name]
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert query(backup, "SELECT nonce FROM nonces") == [("apple",)]
    assert query(backup, "SELECT * FROM alembic_version") == [(CURRENT,)]


def test_failing_migration_leaves_the_file_and_tells_why(path: Path, tmp_path: Path) -> None:
    prepare(path)
    insert_nonce(path, "apple")
    before = shape(path)
    with pytest.raises(MigrationError, match="no such table: nonces_view"):
        prepare(path, following(tmp_path, NEXT))
    assert shape(path) == before
    assert query(path, "SELECT nonce FROM nonces") == [("apple",)]
    prepare(path)


def test_migration_that_leaves_orphans_is_refused(path: Path, tmp_path: Path) -> None:
    source = NEXT.replace(
        'op.execute("INSERT INTO fruit SELECT rowid, nonce FROM nonces_view")',
        'op.execute("CREATE TABLE seed (fruit INTEGER REFERENCES fruit)")\n'
        '    op.execute("INSERT INTO seed VALUES (9)")',
    )
    prepare(path)
    with pytest.raises(MigrationError, match="missing row of fruit"):
        prepare(path, following(tmp_path, source))
    assert query(path, "SELECT * FROM alembic_version") == [(CURRENT,)]


def test_migration_takes_no_longer_than_it_may(path: Path, tmp_path: Path) -> None:
    prepare(path)
    source = NEXT.replace("def upgrade() -> None:", "def upgrade() -> None:\n    import time; time.sleep(600)")
    with pytest.raises(MigrationError, match="stopped after 3 s"):
        prepare(path, following(tmp_path, source), timeout=3)
    prepare(path)


def test_migration_that_does_not_arrive(path: Path, later: History) -> None:
    prepare(path)
    with pytest.raises(MigrationError, match=f"is at {FOLLOWING} after the migration, not 9999"):
        prepare(path, History((*later.revisions, "9999"), later.directory))


def test_file_of_a_newer_version_is_left_alone(path: Path, later: History) -> None:
    prepare(path)
    prepare(path, later)
    content = path.read_bytes()
    with pytest.raises(NewerDatabase, match="made by a newer version"):
        prepare(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("DROP TABLE alembic_version", "not made by this program"),
        ("DELETE FROM alembic_version", "names 0 revisions"),
        ("INSERT INTO alembic_version VALUES ('9999')", "names 2 revisions"),
    ],
)
def test_file_without_one_revision(path: Path, change: str, reason: str) -> None:
    prepare(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(change)
    with pytest.raises(MigrationError, match=reason):
        prepare(path)


def test_keeps_three_backups(path: Path) -> None:
    prepare(path)
    backup = path
    for number in range(5):
        insert_nonce(path, str(number))
        backup = back_up(path, f"r{number}")
        os.utime(backup, (number, number))
    kept = sorted(file.name for file in path.parent.iterdir() if file != path)
    assert kept == [f"{path.name}.before-r{number}" for number in (2, 3, 4)]
    assert len(query(backup, "SELECT * FROM nonces")) == 5
    back_up(path, "r4")
    assert len(list(path.parent.iterdir())) == 4


def test_damaged_file_is_not_migrated(path: Path, later: History) -> None:
    prepare(path)
    good = back_up(path, "0000")
    insert_nonce(path, *(f"{number}" * 20 for number in range(2000)))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 8192] = b"\xa5" * 8192
    path.write_bytes(content)
    with pytest.raises(DatabaseCorrupt) as caught:
        prepare(path, later)
    assert caught.value.backup == good and str(path) in str(caught.value) and str(good) in str(caught.value)
    assert sorted(os.listdir(path.parent)) == [path.name, good.name]


def test_backup_that_fails_stops_the_migration(path: Path, later: History, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    prepare(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(MigrationError, match=r"cannot be copied before its migration.*No space left"):
            prepare(path, later)
    assert os.listdir(path.parent) == [path.name]
    assert query(path, "SELECT * FROM alembic_version") == [(CURRENT,)]


def test_file_held_by_another_process(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(path)
    monkeypatch.setattr("appliance.database.file.BUSY_TIMEOUT", 0.01)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseBusy, match="another process"):
            prepare(path)


def test_no_python_for_the_child(path: Path, later: History, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(path)
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(MigrationError, match="cannot be started"):
        prepare(path, later)


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"missing/a\.db cannot be opened: No such file"):
        prepare(tmp_path / "missing" / "a.db")


def test_command_line(path: Path) -> None:
    assert main([], bytes(path)) == 0
    assert query(path, "SELECT * FROM alembic_version") == [(REVISIONS[-1],)]
