"""The SQLAlchemy engine for the file, for programs that run on their own: migrations."""

from pathlib import Path

from sqlalchemy import Connection, Engine, NullPool, create_engine, event

from appliance.database.file import connect


def make_engine(path: Path, *, foreign_keys: bool = True) -> Engine:
    """
    An engine over connections of `file.connect`, which begin when SQLAlchemy says so.

    BEGIN is IMMEDIATE: a deferred one that becomes a writer fails without waiting when another process has
    written (SQLITE_BUSY_SNAPSHOT in SQLite's list of result codes).
    """
    engine = create_engine(
        "sqlite+pysqlite://",
        creator=lambda: connect(path, foreign_keys=foreign_keys),
        poolclass=NullPool,
        hide_parameters=True,
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
