"""Migrates one file with Alembic: the program `python -m appliance.database.upgrade PATH`, see `migrate`."""

import argparse
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config

from appliance.database.engine import make_engine
from appliance.database.errors import MigrationError
from appliance.database.migrate import HISTORY


def upgrade(path: Path, directory: Path = HISTORY.directory) -> None:
    """Run Alembic here and now, in one transaction; raises whatever goes wrong."""
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
    parser = argparse.ArgumentParser(prog="python -m appliance.database.upgrade")
    parser.add_argument("path", type=Path)
    parser.add_argument("--directory", type=Path, default=HISTORY.directory, help="Alembic's environment")
    options = parser.parse_args(arguments)
    upgrade(options.path, options.directory)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
