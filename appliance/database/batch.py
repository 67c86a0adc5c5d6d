"""One transaction for many functions: each in a savepoint of its own, one commit for all."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from appliance.database.call import Call, Work
from appliance.database.errors import DatabaseError, TransactionLost
from appliance.database.file import connect, explain


class Batches:
    """
    Owns the connection and runs batches of calls on it. Belongs to one thread.

    The outcome of every call that was begun is its result or a `Failure`; it is known when the batch is over,
    and a result stands only when the commit is on the disk. `commits` counts the batches that got there.

    BEGIN is IMMEDIATE: a deferred one that becomes a writer fails without waiting when another process has
    written (SQLITE_BUSY_SNAPSHOT in SQLite's list of result codes).
    """

    _log = Logger()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self.commits = 0

    def run(self, calls: Iterable[Call]) -> list[Call]:
        """
        Run the calls in one transaction, commit, and return those whose callers still waited for their turn.

        Never raises: what goes wrong is the outcome of the calls. When the transaction is lost on the way,
        the calls not yet begun are left in `calls`.
        """
        begun: list[Call] = []
        try:
            connection = self._connection = self._connection or connect(self._path)
            connection.execute("BEGIN IMMEDIATE")
        except BaseException as error:
            begun = [call for call in calls if call.begin() is not None]
            self._fail(begun, error)
            return begun
        try:
            for call in calls:
                if (work := call.begin()) is None:
                    continue
                begun.append(call)
                call.outcome = self._run_one(connection, work)
                if not connection.in_transaction:
                    raise TransactionLost(
                        "the transaction ended before its commit: SQLite gave it up after an error,"
                        " or a function committed or rolled back"
                    )
            _commit(connection)
            self.commits += 1
        except BaseException as error:
            self._fail(begun, error)
        return begun

    def close(self) -> None:
        """Close the connection, which moves the write-ahead log into the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _run_one(self, connection: sqlite3.Connection, work: Work) -> Any:
        execute = connection.execute
        try:
            execute("SAVEPOINT call")
            result = work(connection)
            if isinstance(result, sqlite3.Cursor):
                raise DatabaseError("a function returned a cursor: it must fetch its rows itself")
            execute("RELEASE call")
        except BaseException as error:
            if connection.in_transaction:
                execute("ROLLBACK TO call")
                execute("RELEASE call")
            return Failure(explain(error, self._path))
        return result

    def _fail(self, calls: list[Call], error: BaseException) -> None:
        """Fail what did not fail by itself, and drop the connection, whose state is unknown."""
        explained = explain(error, self._path)
        for call in calls:
            if not isinstance(call.outcome, Failure):
                call.outcome = Failure(explained)
        try:
            self.close()
        except Exception:
            self._log.failure("the connection to {path} could not be closed", path=str(self._path))


def _commit(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("COMMIT")
    except sqlite3.IntegrityError as error:  # of a constraint that is checked at the commit
        raise TransactionLost(f"the commit was refused: {error}") from error
