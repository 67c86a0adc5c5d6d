"""
SQLAlchemy in the database thread: runs functions written for its `Connection` on the connection of the batches.

Imported by that thread alone, when it first has such a function to run: SQLAlchemy takes 14 MB and a fifth of a
second, during which the reactor goes on serving. What even an idle server does needs none of it and is written for
the driver: opening the file, the audit log (each refused request is an entry) and the nonces.
"""

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, MappingResult, NullPool, Result, ScalarResult, create_engine

from appliance.database.errors import DatabaseError

T = TypeVar("T")


class Core:
    """
    Lends SQLAlchemy the connection it is given, which stays the caller's: who begins and ends the transactions.

    Of those SQLAlchemy knows nothing. It takes itself to be in one that never ends, and says nothing about it to the
    driver until a function commits or rolls back, which the caller finds out.
    """

    def __init__(self) -> None:
        # SQLAlchemy asks an engine's first connection what it can, and rolls it back: not the one of a batch.
        self._lent = sqlite3.connect(":memory:")
        self._engine = create_engine(
            "sqlite+pysqlite://",
            creator=lambda: self._lent,
            poolclass=NullPool,
            hide_parameters=True,  # error texts go to logs, and values may be secrets
        )
        self._engine.connect().close()
        self._connection: Connection | None = None

    def run(self, driver: sqlite3.Connection, work: Callable[[Connection], T]) -> T:
        """Call `work` on `driver`. Raises what it raises, and `DatabaseError` when it leaves a cursor or savepoint."""
        connection = self._over(driver)
        try:
            result = work(connection)
            if isinstance(result, (Result, ScalarResult, MappingResult)):
                raise DatabaseError("a function returned a cursor: it must fetch its rows itself")
            if connection.in_nested_transaction():
                raise DatabaseError("a function left a savepoint of its own open")
        except BaseException:
            if (left := connection.get_nested_transaction()) is not None:
                left.close()
            raise
        return result

    def close(self) -> None:
        """Give the connection back; it is closed then."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.closed:
            connection.invalidate()
            connection.close()
        self._engine.dispose()

    def _over(self, driver: sqlite3.Connection) -> Connection:
        if self._connection is None or self._connection.closed or self._lent is not driver:
            self.close()
            self._lent = driver
            self._connection = self._engine.connect()
            self._connection.begin()
        return self._connection
