"""Migrates one database with Alembic: a program that reads a file's path or a server's URL from its input, see
`migrate`.
"""

import argparse
import os
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from appliance.database.engine import make_engine, make_server_engine
from appliance.database.errors import MigrationError
from appliance.database.migrate import HISTORY

_LOCK = 0x6170706C  # of all who migrate one server's database; any number will do


def upgrade(target: Path | str, directory: Path = HISTORY.directory, version_table: str = "alembic_version") -> None:
    """Run Alembic here and now, in one transaction, on a file (`Path`) or on the server of an URL (`str`).

    Raises whatever goes wrong.
    """
    config = Config()
    config.set_main_option("script_location", str(directory).replace("%", "%%"))
    if isinstance(target, str):
        # Two controllers may start at once, and the second must see what the first has done while it waited.
        server = make_server_engine(target).execution_options(isolation_level="READ COMMITTED")
        with server.begin() as connection:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            _run(config, connection, version_table)
        return
    # Rebuilding a table would delete what refers to it: checked at the end instead.
    engine = make_engine(target, foreign_keys=False)
    with engine.begin() as connection:
        _run(config, connection, version_table)
        orphan = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if orphan is not None:
            raise MigrationError(f"a row of {orphan[0]} would refer to a missing row of {orphan[2]}")


def _run(config: Config, connection: Connection, version_table: str) -> None:
    config.attributes["connection"] = connection
    config.attributes["version_table"] = version_table
    command.upgrade(config, "head")


def main(arguments: list[str], given: bytes) -> int:
    """Upgrade the database whose path or URL is `given`; errors go to stderr."""
    parser = argparse.ArgumentParser(prog="python -m appliance.database.upgrade")
    parser.add_argument("--directory", type=Path, default=HISTORY.directory, help="Alembic's environment")
    parser.add_argument("--version-table", default=HISTORY.version_table, help="where the revision stands")
    options = parser.parse_args(arguments)
    target = os.fsdecode(given)
    upgrade(target if "://" in target else Path(target), options.directory, options.version_table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdin.buffer.read()))
