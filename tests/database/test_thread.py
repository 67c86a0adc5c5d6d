import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

from sqlalchemy import Connection, Result, text
from sqlalchemy.exc import IntegrityError, OperationalError
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, ensureDeferred, gatherResults

from appliance.database.errors import (
    DatabaseBusy,
    DatabaseClosed,
    DatabaseCorrupt,
    DatabaseError,
    DatabaseUnavailable,
    TransactionLost,
)
from appliance.database.thread import Database
from tests.support.database import DatabaseTestCase, Gate


def add(nonce: str) -> Callable[[Connection], str]:
    """Work that inserts a row and returns its name."""

    def work(connection: Connection) -> str:
        connection.execute(text("INSERT INTO nonces VALUES ('s', :nonce, 1)"), {"nonce": nonce})
        return nonce

    return work


def names(connection: Connection) -> list[str]:
    return [str(name) for name in connection.execute(text("SELECT nonce FROM nonces ORDER BY nonce")).scalars()]


class RunTests(DatabaseTestCase):
    async def test_runs_in_its_own_thread_and_stores(self) -> None:
        database = await self.opened()
        thread = await database.run(lambda connection: threading.current_thread())
        assert thread.name == "database" and thread is not threading.current_thread()
        assert await database.run(add("a")) == "a"
        with closing(sqlite3.connect(self.path)) as other:
            assert other.execute("SELECT nonce FROM nonces").fetchall() == [("a",)]

    async def test_is_durable_and_keeps_foreign_keys(self) -> None:
        database = await self.opened()

        def pragmas(connection: Connection) -> list[Any]:
            wanted = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted]

        assert await database.run(pragmas) == ["wal", 2, 1, 5000]

    async def test_thousand_at_once_in_few_commits(self) -> None:
        database = await self.opened(batch_limit=256, batch_seconds=60)
        gate, waiting = await self.gate(database)
        calls = [ensureDeferred(database.run(add(f"{n:04}"))) for n in range(1000)]
        before = database.commits
        gate.leave.set()
        await waiting
        assert await gatherResults(calls) == [f"{n:04}" for n in range(1000)]
        assert database.commits - before == 4
        assert await database.run(names) == [f"{n:04}" for n in range(1000)]

    async def test_old_batch_is_committed_before_the_next_function(self) -> None:
        database = await self.opened(batch_seconds=0)
        gate, waiting = await self.gate(database)
        calls = [ensureDeferred(database.run(add(str(n)))) for n in range(5)]
        before = database.commits
        gate.leave.set()
        await waiting
        await gatherResults(calls)
        assert database.commits - before == 6

    async def test_answers_come_after_the_commit_and_in_order(self) -> None:
        database = await self.opened()
        gate, waiting = await self.gate(database)
        seen: list[tuple[int, int]] = []

        async def one(number: int) -> None:
            await database.run(add(str(number)))
            with closing(sqlite3.connect(self.path)) as other:
                seen.append((number, other.execute("SELECT count(*) FROM nonces").fetchone()[0]))

        calls = [ensureDeferred(one(number)) for number in range(5)]
        gate.leave.set()
        await gatherResults([waiting, *calls])
        assert seen == [(number, 5) for number in range(5)]

    async def test_failing_function_leaves_the_others_alone(self) -> None:
        database = await self.opened()
        gate, waiting = await self.gate(database)

        def fail(connection: Connection) -> None:
            add("half")(connection)
            raise ZeroDivisionError("on purpose")

        def refused(connection: Connection) -> None:
            add("half")(connection)
            add("a")(connection)

        first = ensureDeferred(database.run(add("a")))
        failing = ensureDeferred(database.run(fail))
        refusing = ensureDeferred(database.run(refused))
        broken = ensureDeferred(database.run(lambda connection: connection.execute(text("nonsense"))))
        last = ensureDeferred(database.run(add("b")))
        before = database.commits
        gate.leave.set()
        await waiting
        assert await first == "a" and await last == "b"
        assert str(await self.fails(failing, ZeroDivisionError)) == "on purpose"
        await self.fails(refusing, IntegrityError)
        await self.fails(broken, OperationalError)
        assert database.commits - before == 1
        assert await database.run(names) == ["a", "b"]

    async def test_errors_show_no_values(self) -> None:
        database = await self.opened()
        await database.run(add("hidden-7f3a"))
        error = await self.fails(database.run(add("hidden-7f3a")), IntegrityError)
        assert "hidden-7f3a" not in str(error) and "UNIQUE" in str(error)

    async def test_savepoints_of_functions_nest(self) -> None:
        database = await self.opened()

        def nested(connection: Connection) -> None:
            add("kept")(connection)
            inner = connection.begin_nested()
            add("dropped")(connection)
            inner.rollback()
            with connection.begin_nested():
                add("kept too")(connection)

        await database.run(nested)
        assert await database.run(names) == ["kept", "kept too"]

    async def test_savepoint_left_open_is_an_error_of_its_function_only(self) -> None:
        database = await self.opened()
        gate, waiting = await self.gate(database)

        def careless(connection: Connection) -> None:
            connection.begin_nested()
            add("lost")(connection)

        left_open = ensureDeferred(database.run(careless))
        good = ensureDeferred(database.run(add("good")))
        gate.leave.set()
        await waiting
        assert "savepoint" in str(await self.fails(left_open, DatabaseError))
        assert await good == "good"
        assert await database.run(names) == ["good"]

    async def test_cursor_is_refused(self) -> None:
        database = await self.opened()

        def cursor(connection: Connection) -> Result[Any]:
            return connection.execute(text("SELECT 1"))

        assert "cursor" in str(await self.fails(database.run(cursor), DatabaseError))

    async def test_function_that_ends_the_transaction_fails_its_batch_not_the_next(self) -> None:
        database = await self.opened()
        enders: tuple[Callable[[Connection], None], ...] = (
            lambda connection: connection.rollback(),
            lambda connection: connection.commit(),
            lambda connection: connection.close(),
            lambda connection: connection.exec_driver_sql("ROLLBACK").close(),
        )
        for number, ender in enumerate(enders):
            gate, waiting = await self.gate(database)
            before = ensureDeferred(database.run(add(f"before {number}")))
            ending = ensureDeferred(database.run(ender))
            after = ensureDeferred(database.run(add(f"after {number}")))
            gate.leave.set()
            for call in (waiting, before, ending):
                await self.fails(call, Exception)
            assert await after == f"after {number}"
        stored = await database.run(names)
        assert [name for name in stored if name.startswith("after")] == [f"after {n}" for n in range(4)]
        assert "before 0" not in stored and "before 3" not in stored

    async def test_failing_commit_fails_all_of_the_batch(self) -> None:
        database = await self.opened()

        def prepare(connection: Connection) -> None:
            connection.exec_driver_sql("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
            connection.exec_driver_sql(
                "CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)"
            )

        def orphan(connection: Connection) -> None:
            connection.exec_driver_sql("INSERT INTO child VALUES (7)")

        await database.run(prepare)
        gate, waiting = await self.gate(database)
        good = ensureDeferred(database.run(add("good")))
        bad = ensureDeferred(database.run(orphan))
        gate.leave.set()
        for call in (waiting, good, bad):
            assert "FOREIGN KEY" in str(await self.fails(call, TransactionLost))
        assert await database.run(names) == []
        assert await database.run(add("later")) == "later"

    async def test_disk_full_fails_what_was_begun_and_the_next_works(self) -> None:
        database = await self.opened()

        def limit(connection: Connection) -> None:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

        def fill(connection: Connection) -> None:
            for number in range(100):
                add(f"{number}" * 1000)(connection)

        await database.run(limit)
        error = await self.fails(database.run(fill), DatabaseUnavailable)
        assert "full" in str(error) and str(self.path) in str(error)
        assert await database.run(names) == []
        await database.run(add("small"))
        assert await database.run(names) == ["small"]

    async def test_transaction_given_up_by_sqlite_loses_the_batch_and_says_so(self) -> None:
        database = await self.opened()
        gate, waiting = await self.gate(database)

        def give_up(connection: Connection) -> None:
            add("x")(connection)
            connection.execute(text("INSERT OR ROLLBACK INTO nonces VALUES ('s', 'x', 1)"))

        before = ensureDeferred(database.run(add("before")))
        giving_up = ensureDeferred(database.run(give_up))
        after = ensureDeferred(database.run(add("after")))
        gate.leave.set()
        await self.fails(waiting, TransactionLost)
        await self.fails(before, TransactionLost)
        await self.fails(giving_up, IntegrityError)
        assert await after == "after"
        assert await database.run(names) == ["after"]

    async def test_another_process_that_holds_the_file(self) -> None:
        database = await self.opened()
        await database.run(lambda connection: connection.exec_driver_sql("PRAGMA busy_timeout=10").close())
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            error = await self.fails(database.run(add("a")), DatabaseBusy)
            assert "another process" in str(error)
            other.execute("ROLLBACK")
        assert await database.run(add("b")) == "b"

    async def test_bounded_queue(self) -> None:
        database = await self.opened(waiting_limit=3)
        gate, waiting = await self.gate(database)
        queued = [ensureDeferred(database.run(add(str(n)))) for n in range(3)]
        error = await self.fails(database.run(add("refused")), DatabaseBusy)
        assert "3 callers" in str(error)
        gate.leave.set()
        await waiting
        assert await gatherResults(queued) == ["0", "1", "2"]
        assert await database.run(add("again")) == "again"
        assert await database.run(names) == ["0", "1", "2", "again"]

    async def test_cancelled_before_its_turn_is_dropped(self) -> None:
        database = await self.opened()
        gate, waiting = await self.gate(database)
        leaving = ensureDeferred(database.run(add("leaving")))
        staying = ensureDeferred(database.run(add("staying")))
        leaving.cancel()
        await self.fails(leaving, CancelledError)
        gate.leave.set()
        await waiting
        assert await staying == "staying"
        assert await database.run(names) == ["staying"]

    async def test_cancelled_after_its_begin_is_stored(self) -> None:
        database = await self.opened()
        gate = Gate()

        def slow(connection: Connection) -> None:
            add("stored")(connection)
            gate(connection)

        leaving = ensureDeferred(database.run(slow))
        assert gate.entered.wait(30)
        leaving.cancel()
        await self.fails(leaving, CancelledError)
        gate.leave.set()
        assert await database.run(names) == ["stored"]

    async def test_caller_may_ask_again_in_its_answer(self) -> None:
        database = await self.opened()

        async def chain(depth: int) -> int:
            await database.run(add(str(depth)))
            return 1 + (await chain(depth - 1) if depth else 0)

        assert await gatherResults([ensureDeferred(chain(20))]) == [21]


class OpenAndCloseTests(DatabaseTestCase):
    async def test_close_finishes_what_is_queued(self) -> None:
        database = await self.opened()
        gate, waiting = await self.gate(database)
        calls = [ensureDeferred(database.run(add(f"{n:03}"))) for n in range(600)]
        closing_first = ensureDeferred(database.close())
        closing_second = ensureDeferred(database.close())
        await self.fails(database.run(add("late")), DatabaseClosed)
        gate.leave.set()
        await gatherResults([closing_first, closing_second])
        assert all(call.called for call in calls)
        assert await gatherResults(calls) == [f"{n:03}" for n in range(600)]
        await waiting
        assert not [thread for thread in threading.enumerate() if thread.name == "database"]
        assert os.listdir(self.directory) == ["appliance.db"]
        await database.close()
        await self.fails(database.run(names), DatabaseClosed)
        await self.fails(database.open(), DatabaseError)

    async def test_giving_up_on_close_does_not_stop_it(self) -> None:
        database = await self.opened()
        gate, waiting = await self.gate(database)
        impatient = ensureDeferred(database.close())
        patient = ensureDeferred(database.close())
        impatient.cancel()
        await self.fails(impatient, CancelledError)
        gate.leave.set()
        await patient
        await waiting

    async def test_not_open(self) -> None:
        database = Database(reactor, self.path)  # type: ignore[arg-type]
        await self.fails(database.run(names), DatabaseClosed)
        await database.close()
        assert os.listdir(self.directory) == []

    async def test_close_while_opening(self) -> None:
        database = Database(reactor, self.path)  # type: ignore[arg-type]
        opening = ensureDeferred(database.open())
        await self.fails(database.run(names), DatabaseClosed)
        await database.close()
        await opening
        await self.fails(database.run(names), DatabaseClosed)

    async def test_url_and_reopening(self) -> None:
        database = Database(reactor, f"sqlite:///{self.path}")  # type: ignore[arg-type]
        await database.open()
        await database.run(add("a"))
        await database.close()
        assert await (await self.opened()).run(names) == ["a"]

    def test_refuses_what_it_cannot_make_durable(self) -> None:
        for location in (
            "", ":memory:", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///a?mode=ro",
            "sqlite://host/a", "sqlite://[", "postgresql://user:hidden@host/name",
        ):  # fmt: skip
            with self.assertRaises(DatabaseError) as caught:
                Database(reactor, location)  # type: ignore[arg-type]
            assert "hidden" not in str(caught.exception)

    async def test_private_whatever_the_umask(self) -> None:
        old = os.umask(0)
        try:
            database = await self.opened()
            await database.run(add("a"))
        finally:
            os.umask(old)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in self.directory.iterdir()}
        assert modes == {"appliance.db": 0o600, "appliance.db-wal": 0o600, "appliance.db-shm": 0o600}

    async def test_takes_an_open_file_away_from_others(self) -> None:
        await (await self.opened()).close()
        self.path.chmod(0o666)
        await self.opened()
        assert stat.S_IMODE(self.path.stat().st_mode) == 0o600

    async def test_missing_directory_and_not_a_file(self) -> None:
        missing = Database(reactor, self.directory / "missing" / "a.db")  # type: ignore[arg-type]
        assert "missing/a.db" in str(await self.fails(missing.open(), DatabaseUnavailable))
        await missing.close()
        not_a_file = Database(reactor, "/dev/null")  # type: ignore[arg-type]
        assert "not a regular file" in str(await self.fails(not_a_file.open(), DatabaseUnavailable))

    async def test_file_that_is_no_database(self) -> None:
        self.path.write_bytes(b"this is a text, not a database\n" * 100)
        backup = self.directory / "appliance.db.before-0001"
        backup.write_bytes(b"")
        database = Database(reactor, self.path)  # type: ignore[arg-type]
        error = await self.fails(database.open(), DatabaseCorrupt)
        assert str(self.path) in str(error) and str(backup) in str(error) and error.backup == backup
        assert self.path.read_bytes().startswith(b"this is a text")

    async def test_damage_found_while_running(self) -> None:
        database = await self.opened()
        await database.run(add("a"))
        await database.close()
        page = 4096
        content = bytearray(self.path.read_bytes())
        content[page:] = b"\xa5" * (len(content) - page)
        self.path.write_bytes(content)
        damaged = Database(reactor, self.path)  # type: ignore[arg-type]

        async def read() -> None:
            await damaged.open()
            await damaged.run(names)

        error = await self.fails(read(), DatabaseCorrupt)
        await damaged.close()
        assert str(self.path) in str(error) and "no backup" in str(error)
