"""The same functions on a PostgreSQL server: how several controllers share one mesh."""

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from appliance.database.errors import DatabaseBusy, DatabaseClosed, DatabaseError, DatabaseUnavailable
from appliance.database.migrate import History, upgrade_in_child
from appliance.secret import Secret

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

T = TypeVar("T")

CONNECTIONS: Final = 8
WAITING_LIMIT: Final = 10_000
RETRY_SECONDS: Final = 15.0
"""How long a function is called again when others come between; the waits in between double, up to 64 ms."""

# https://www.postgresql.org/docs/current/errcodes-appendix.html; a unique violation may stand for a serialization
# failure (its documentation, section "Serialization Failure Handling"), so that it counts only when it comes again.
_SERIALIZATION_FAILURES = frozenset(("40001", "40P01"))
_UNIQUE_VIOLATION = "23505"


class PostgreSQL:
    """Implements `Store` on the server of `url` (`postgresql://…`), with a thread for each connection."""

    def __init__(self, reactor: IReactorFromThreads, url: Secret, history: History) -> None:
        self._reactor = reactor
        self._url = url
        self._history = history
        self._pool = ThreadPool(1, CONNECTIONS, name="postgresql")
        self._engine: Engine | None = None
        self._waiting = 0

    async def open(self) -> None:
        """Bring the server's tables up to date and start the threads. Raises `MigrationError`, `DatabaseError`."""
        self._pool.start()
        await deferToThreadPool(self._reactor, self._pool, self._open)

    async def run(self, work: "Callable[[Connection], T]") -> T:
        """See `Store`. Raises `DatabaseClosed`, `DatabaseBusy` and `DatabaseUnavailable` besides what `work` raises."""
        if self._engine is None:
            raise DatabaseClosed("the PostgreSQL server is not connected")
        if self._waiting >= WAITING_LIMIT:
            raise DatabaseBusy(f"{WAITING_LIMIT} callers wait for the database already")
        self._waiting += 1
        try:
            result: T = await deferToThreadPool(self._reactor, self._pool, self._attempt, self._engine, work)
            return result
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Let what runs end, and disconnect. Does nothing when it is not open."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await deferToThreadPool(self._reactor, self._pool, engine.dispose)
        if self._pool.started:
            self._pool.stop()

    # In a thread of the pool.

    def _open(self) -> None:
        url = self._url.reveal()
        upgrade_in_child(url, self._history)
        try:
            from appliance.database.engine import make_server_engine

            self._engine = make_server_engine(url, CONNECTIONS)
        except ModuleNotFoundError as error:
            raise DatabaseError(f"PostgreSQL needs the package {error.name}: install appliance[postgresql]") from error

    def _attempt(self, engine: "Engine", work: "Callable[[Connection], T]") -> T:
        from sqlalchemy.exc import DBAPIError, OperationalError

        seen_violation = False
        deadline = time.monotonic() + RETRY_SECONDS
        attempt = 0
        while time.monotonic() < deadline:
            try:
                with engine.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                state = getattr(error.orig, "sqlstate", None)
                violates = state == _UNIQUE_VIOLATION
                if state not in _SERIALIZATION_FAILURES and (not violates or seen_violation):
                    if isinstance(error, OperationalError) or error.connection_invalidated:
                        raise DatabaseUnavailable(f"the PostgreSQL server cannot be used: {_words(error)}") from error
                    raise
                seen_violation = seen_violation or violates
            time.sleep(random.uniform(0, 0.001 * 2 ** min(attempt, 6)))  # noqa: S311 - no secret
            attempt += 1
        raise DatabaseBusy("other transactions came between each time")


def _words(error: Any) -> str:
    """The first line of what the driver says, which names the server but holds no password."""
    return (str(error.orig).strip().splitlines() or [type(error).__name__])[0]
