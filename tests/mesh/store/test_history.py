"""The mesh's tables come into every database in the same form: a new file, an older one, a server."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from appliance.database.engine import make_engine, make_server_engine
from appliance.database.errors import MigrationError
from appliance.database.migrate import HISTORY as APPLIANCE
from appliance.database.migrate import prepare, upgrade_in_child
from appliance.database.upgrade import upgrade
from appliance.mesh.store.history import HISTORY, REVISIONS
from appliance.mesh.store.tables import metadata
from tests.support.postgresql import PASSWORD, PostgresServer, postgres_server


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


def shape(path: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    return sorted((*row[:3], " ".join(str(row[3]).split())) for row in rows)


def test_a_new_file_equals_one_that_was_migrated(tmp_path: Path) -> None:
    new, older = tmp_path / "new.db", tmp_path / "older.db"
    prepare(new, APPLIANCE, HISTORY)
    prepare(older)
    upgrade(older, HISTORY.directory, HISTORY.version_table)
    assert shape(new) == shape(older)
    prepare(older, APPLIANCE, HISTORY)
    assert shape(new) == shape(older)


def test_the_revisions_are_those_of_alembic() -> None:
    config = Config()
    config.set_main_option("script_location", str(HISTORY.directory))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [REVISIONS[-1]]


def test_the_tables_are_those_described(tmp_path: Path, server: PostgresServer) -> None:
    path, url = tmp_path / "x.db", server.new_database()
    prepare(path, APPLIANCE, HISTORY)
    upgrade_in_child(url, HISTORY)
    upgrade_in_child(url, HISTORY)
    for engine in (make_engine(path), make_server_engine(url)):
        with engine.connect() as connection:
            options = {
                "version_table": HISTORY.version_table,
                "compare_server_default": False,
                "include_object": lambda _, name, kind, *__: kind != "table" or str(name).startswith("mesh_"),
            }
            found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        engine.dispose()
        assert found == []


def test_a_server_that_cannot_be_migrated_is_told_of_without_its_password(server: PostgresServer) -> None:
    with pytest.raises(MigrationError) as caught:
        upgrade_in_child(server.url("nosuchdatabase"), HISTORY)
    assert "nosuchdatabase" in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert PASSWORD.replace(" ", "%20") not in str(caught.value)
