"""
The database thread: callers hand it functions, it runs what has queued up and commits once for all of them.

    names = await database.run(lambda connection: connection.execute(select(users.c.name)).scalars().all())

The function runs in the database thread, in a savepoint of its own; it takes a SQLAlchemy `Connection`,
returns plain values and neither commits nor rolls back. Its result is given out when it is on the disk.
"""

import enum
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from appliance.database.batch import Batches
from appliance.database.call import Call
from appliance.database.errors import DatabaseBusy, DatabaseClosed, DatabaseError
from appliance.database.file import locate
from appliance.database.migrate import HISTORY, History, prepare

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from appliance.database.core import Core

T = TypeVar("T")

WAITING_LIMIT: Final = 10_000
BATCH_LIMIT: Final = 256
BATCH_SECONDS: Final = 0.05


class _State(enum.Enum):
    NEW = "not open"
    OPENING = "not open yet"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class Database:
    """
    A database and the one thread that talks to it.

    `url_or_path` is a file or `sqlite:///FILE`. At most `waiting_limit` functions wait for their turn,
    which comes in the order of the calls. A batch takes no more functions once it has `batch_limit` or has
    run for `batch_seconds`, so that slow ones do not hold back for long what is done, and the reactor gets
    its answers in portions.
    """

    def __init__(
        self,
        reactor: IReactorFromThreads,
        url_or_path: str | os.PathLike[str],
        *,
        waiting_limit: int = WAITING_LIMIT,
        batch_limit: int = BATCH_LIMIT,
        batch_seconds: float = BATCH_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        history: History = HISTORY,
        others: Sequence[History] = (),
    ) -> None:
        self.path = locate(url_or_path)
        self._reactor = reactor
        self._waiting_limit = waiting_limit
        self._batch_limit = batch_limit
        self._batch_seconds = batch_seconds
        self._monotonic = monotonic
        self._histories = (history, *others)
        self._queue: SimpleQueue[Call | None] = SimpleQueue()
        self._state = _State.NEW
        self._thread: threading.Thread | None = None
        self._closers: list[Deferred[None]] = []
        self._batches = Batches(self.path)
        self._core: Core | None = None

    @property
    def commits(self) -> int:
        """How many batches were committed since the database was opened."""
        return self._batches.commits

    async def open(self) -> None:
        """
        Make the file, or bring it up to date, and start the thread.

        Raises `DatabaseCorrupt`, `DatabaseBusy` (another process holds the file), `DatabaseUnavailable` or
        `MigrationError`; the object is of no use then.
        """
        if self._state is not _State.NEW:
            raise DatabaseError(f"database {self.path} is {self._state.value}: it is opened once")
        self._state = _State.OPENING
        opened: Deferred[None] = Deferred()
        self._thread = threading.Thread(target=self._main, args=(opened,), name="database", daemon=True)
        self._thread.start()
        await opened

    async def run(self, work: "Callable[[Connection], T]") -> T:
        """
        Call `work(connection)` in the database thread and return its result once it is durable.

        Raises what `work` raises, with nothing of it stored and the others of its batch untouched. Raises
        `DatabaseBusy` at once when too many wait, `DatabaseClosed` when the database is not open, and
        `DatabaseUnavailable`, `DatabaseCorrupt` or `TransactionLost` when the batch cannot be committed.
        The first call takes a fifth of a second longer, see `core`.
        Cancelling drops a function that has not begun; one that has begun is stored nevertheless.
        """
        return await self.run_on_driver(lambda connection: self._run_core(connection, work))

    async def run_on_driver(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """
        Like `run`, with the connection of the driver: for what must work without SQLAlchemy, see `core`.

        Here, too, the function neither commits nor rolls back, and returns plain values.
        """
        if self._state is not _State.OPEN:
            raise DatabaseClosed(f"database {self.path} is {self._state.value}")
        if self._queue.qsize() >= self._waiting_limit:
            raise DatabaseBusy(f"{self._waiting_limit} callers wait for the database already")
        call = Call(work)
        self._queue.put(call)
        result: T = await call.deferred
        return result

    async def close(self) -> None:
        """Finish what is queued, close the file and end the thread. Does nothing when it is not open."""
        if self._state in (_State.NEW, _State.CLOSED):
            self._state = _State.CLOSED
            return
        if self._state is not _State.CLOSING:
            self._state = _State.CLOSING
            self._queue.put(None)
        closed: Deferred[None] = Deferred(self._closers.remove)
        self._closers.append(closed)
        await closed

    # In the reactor thread, called by the database thread.

    def _opened(self, opened: Deferred[None], failure: Failure | None) -> None:
        if failure is None:
            if self._state is _State.OPENING:
                self._state = _State.OPEN
            opened.callback(None)
        else:
            opened.errback(failure)

    def _answer(self, calls: list[Call]) -> None:
        for call in calls:
            if not call.deferred.called:
                call.deferred.callback(call.outcome)

    def _ended(self, failure: Failure | None) -> None:
        self._state = _State.CLOSED
        if self._thread is not None:
            self._thread.join()
        for closed in tuple(self._closers):
            if not closed.called:
                closed.callback(None) if failure is None else closed.errback(failure)

    # In the database thread.

    def _main(self, opened: Deferred[None]) -> None:
        failure: Failure | None = None
        try:
            prepare(self.path, *self._histories)
        except BaseException:
            self._reactor.callFromThread(self._opened, opened, Failure())
        else:
            self._reactor.callFromThread(self._opened, opened, None)
            while (call := self._queue.get()) is not None:
                self._reactor.callFromThread(self._answer, self._batches.run(self._batch(call)))
            try:
                if self._core is not None:
                    self._core.close()
                self._batches.close()
            except BaseException:
                failure = Failure()
        self._reactor.callFromThread(self._ended, failure)

    def _run_core(self, connection: sqlite3.Connection, work: "Callable[[Connection], T]") -> T:
        if self._core is None:
            from appliance.database.core import Core

            self._core = Core()
        return self._core.run(connection, work)

    def _batch(self, first: Call) -> Iterator[Call]:
        """Calls in order of arrival, until there is none or the batch is large or old enough."""
        until = self._monotonic() + self._batch_seconds
        yield first
        for _ in range(self._batch_limit - 1):
            if self._monotonic() >= until:
                return
            try:
                call = self._queue.get_nowait()
            except Empty:
                return
            if call is None:
                self._queue.put(None)
                return
            yield call
