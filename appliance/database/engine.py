"""SQLAlchemy engines: for the file, for programs that run on their own (migrations); and for a PostgreSQL server."""

from pathlib import Path

from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.engine import make_url

from appliance.database.file import connect

CONNECT_SECONDS = 10
STATEMENT_MILLISECONDS = 30_000


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


def make_server_engine(url: str, connections: int = 1) -> Engine:
    """
    An engine for `postgresql://…`, by psycopg, with at most `connections` at a time.

    What two transactions do at the same time must come to what they would have done one after the other: a rule that
    one has checked must not be broken by the other. Raises what SQLAlchemy raises for an URL that is none, and
    ModuleNotFoundError where psycopg is not installed.
    """
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        isolation_level="SERIALIZABLE",
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "options": f"-c timezone=UTC -c statement_timeout={STATEMENT_MILLISECONDS}"
            f" -c idle_in_transaction_session_timeout={STATEMENT_MILLISECONDS}",
        },
    )
