import json
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.task import Clock

from appliance.database import audit as module
from appliance.database import schema
from appliance.database.audit import DETAILS_LIMIT, FIELD_LIMIT, GENESIS, AuditEntry, AuditLog, ChainBroken
from appliance.database.clock import timestamp
from appliance.database.engine import make_engine
from appliance.database.file import driver
from appliance.database.migrate import prepare
from appliance.database.redaction import Redactor
from appliance.secret import MASK, Secret
from tests.support.database import DatabaseTestCase

DAY = 86400
TRIGGERS = ("audit_no_update", "audit_no_delete", "audit_ordered", "audit_anchor_true")


def entry(action: str = "settings.change", **changes: Any) -> AuditEntry:
    values = {
        "surface": "admin",
        "actor_kind": "token",
        "actor_name": "setup",
        "action": action,
        "outcome": "ok",
    }
    return AuditEntry(**{**values, **changes})


def execute(sql: str, *parameters: dict[str, Any]) -> Callable[[Connection], None]:
    return lambda connection: connection.execute(text(sql), *parameters).close()


class AuditTestCase(DatabaseTestCase):
    async def made(self, redactor: Redactor | None = None) -> AuditLog:
        self.database = await self.opened()
        self.clock = Clock()
        self.clock.advance(1_767_225_600.25)
        self.log = AuditLog(self.database, self.clock, redactor)
        return self.log

    async def forge(self, *statements: str) -> None:
        """Change rows as somebody would who owns the file."""
        for sql in (*(f"DROP TRIGGER {name}" for name in TRIGGERS), *statements):
            await self.database.run(execute(sql))


class RecordTests(AuditTestCase):
    async def test_row(self) -> None:
        log = await self.made()
        details = {"host": "a", "password": "hidden", "deep": [{"api_key": "hidden"}], "s": Secret("hidden")}
        assert await log.record(entry(address="192.0.2.1", object="network", details=details)) == 1
        (record,) = await log.entries()
        assert record.occurred_at == "2026-01-01T00:00:00.250000Z"
        assert (record.surface, record.actor_kind, record.actor_name) == ("admin", "token", "setup")
        assert (record.address, record.action, record.object) == ("192.0.2.1", "settings.change", "network")
        assert (record.outcome, record.previous_hash) == ("ok", GENESIS)
        assert record.details == {"host": "a", "password": MASK, "deep": [{"api_key": MASK}], "s": MASK}
        await self.database.close()
        assert b"hidden" not in self.path.read_bytes()

    async def test_redactor_can_be_set(self) -> None:
        log = await self.made(Redactor({"pin"}))
        await log.record(entry(details={"pin": 1234, "token": "shown"}))
        assert (await log.entries())[0].details == {"pin": MASK, "token": "shown"}

    async def test_details_are_those_of_the_call(self) -> None:
        log = await self.made()
        gate, waiting = await self.gate(self.database)
        details = {"a": 1}
        recording = ensureDeferred(log.record(entry(details=details)))
        details["a"] = 2
        gate.leave.set()
        await waiting
        await recording
        assert (await log.entries())[0].details == {"a": 1}

    async def test_hostile_texts_are_bounded_and_stored(self) -> None:
        log = await self.made()
        long = "\x00\udcff'\"\n" * FIELD_LIMIT
        big = {str(number): "x" * 4000 for number in range(100)}
        await log.record(entry(long, object=long, actor_name=long, address=long, details={long: long}))
        await log.record(entry(details=big))
        large, first = await log.entries()
        assert first.action.startswith("\x00\\udcff'\"\n") and len(first.action) <= FIELD_LIMIT * 6
        assert large.details == {"omitted": f"<{len(json.dumps(big, separators=(',', ':')))} characters of details>"}
        assert len(json.dumps(first.details)) <= DETAILS_LIMIT
        assert await log.verify() == 2

    async def test_in_the_transaction_of_the_caller(self) -> None:
        log = await self.made()

        def work(connection: Connection, fail: bool) -> int:
            connection.execute(text("INSERT INTO nonces VALUES ('s', :nonce, 1)"), {"nonce": str(fail)})
            id = log.record_in(connection, entry(object=str(fail)))
            if fail:
                raise ZeroDivisionError
            return id

        assert await self.database.run(lambda connection: work(connection, False)) == 1
        await self.fails(self.database.run(lambda connection: work(connection, True)), ZeroDivisionError)
        assert await log.record(entry()) == 2
        assert [record.object for record in await log.entries()] == [None, "False"]
        assert await log.verify() == 2

    async def test_entries_by_page_and_surface(self) -> None:
        log = await self.made()
        for number in range(10):
            await log.record(entry(object=str(number), surface=("admin", "mesh")[number % 2]))

        async def objects(*arguments: Any, **filters: Any) -> str:
            return "".join(str(record.object) for record in await log.entries(*arguments, **filters))

        assert await objects() == "9876543210"
        assert await objects(3) == "987"
        assert await objects(3, before=8) == "654"
        assert await objects(2, before=8, surface="mesh") == "53"
        assert await objects(0) == "" and await objects(-1) == ""
        assert await objects(surface="none") == ""


class ChainTests(AuditTestCase):
    async def test_many_at_once_make_one_chain(self) -> None:
        log = await self.made()
        ids = await gatherResults([ensureDeferred(log.record(entry(object=str(n)))) for n in range(1000)])
        assert ids == list(range(1, 1001))
        assert await log.verify() == 1000

    async def test_empty(self) -> None:
        log = await self.made()
        assert await log.verify() == 0 and await log.entries() == [] and await log.prune(0) == 0

    async def test_database_refuses_changes(self) -> None:
        log = await self.made()
        for _ in range(3):
            await log.record(entry())
        row = "'a', 's', 'k', 'n', NULL, 'a', NULL, 'o', '{}', 'p', 'h'"
        for sql in (
            "UPDATE audit SET outcome = 'x' WHERE id = 2",
            "DELETE FROM audit",
            "DELETE FROM audit WHERE id = 1",
            f"INSERT OR REPLACE INTO audit VALUES (2, {row})",
            f"INSERT INTO audit VALUES (0, {row})",
            f"INSERT INTO audit VALUES (NULL, {row})",
            "INSERT INTO audit_anchor VALUES (2, 'forged', 'now')",
            "INSERT INTO audit_anchor VALUES (9, '', 'now')",
        ):
            error = await self.fails(self.database.run(execute(sql)), IntegrityError)
            assert "append-only" in str(error) or "anchor" in str(error), sql
        assert await log.verify() == 3

    async def test_every_forged_column_is_found(self) -> None:
        log = await self.made()
        for number in range(5):
            await log.record(entry(address="a", object=str(number)))
        columns = [column.name for column in schema.audit.c if column.name != "id"]
        await self.forge()
        for column in columns:
            await self.database.run(execute("CREATE TEMP TABLE kept AS SELECT * FROM audit"))
            await self.database.run(execute(f"UPDATE audit SET {column} = 'forged' WHERE id = 3"))
            error = await self.fails(log.verify(), ChainBroken)
            assert error.id == 3 and "row 3" in str(error), column
            await self.database.run(execute("DELETE FROM audit"))
            await self.database.run(execute("INSERT INTO audit SELECT * FROM kept"))
            await self.database.run(execute("DROP TABLE kept"))
        assert len(columns) == 11 and await log.verify() == 5

    async def test_row_taken_out_or_forged_with_its_hash(self) -> None:
        log = await self.made()
        for _ in range(3):
            await log.record(entry())
        await self.forge("DELETE FROM audit WHERE id = 2")
        assert (await self.fails(log.verify(), ChainBroken)).id == 2
        await self.database.run(execute("DELETE FROM audit WHERE id = 1"))
        assert (await self.fails(log.verify(), ChainBroken)).id == 1

    async def test_forged_row_with_a_true_hash_breaks_the_next(self) -> None:
        log = await self.made()
        for _ in range(3):
            await log.record(entry())

        def rewrite(connection: Connection) -> None:
            row = connection.execute(text("SELECT * FROM audit WHERE id = 2")).one()._asdict()
            row["outcome"] = "forged"
            row["hash"] = module._hash(row)
            connection.execute(text("UPDATE audit SET outcome = :outcome, hash = :hash WHERE id = 2"), row)

        await self.forge()
        await self.database.run(rewrite)
        assert (await self.fails(log.verify(), ChainBroken)).id == 3


class PruneTests(AuditTestCase):
    async def filled(self, days: int) -> AuditLog:
        """A log with one row a day, the last of now."""
        log = await self.made()
        for day in range(days):
            if day:
                self.clock.advance(DAY)
            await log.record(entry(object=str(day)))
        return log

    async def ids(self) -> list[int]:
        return [record.id for record in await self.log.entries()][::-1]

    async def test_removes_the_old_and_keeps_the_chain(self) -> None:
        log = await self.filled(10)
        assert await log.prune(3) == 6
        assert await self.ids() == [7, 8, 9, 10]
        assert await log.verify() == 4
        assert await log.record(entry()) == 11
        assert await log.verify() == 5
        assert await log.prune(3) == 0
        self.clock.advance(DAY)
        assert await log.prune(3) == 1
        assert await log.verify() == 4

    async def test_removes_everything_and_goes_on(self) -> None:
        log = await self.filled(3)
        self.clock.advance(1)
        assert await log.prune(0) == 3
        assert await log.verify() == 0
        assert await log.record(entry()) == 4
        (record,) = await log.entries()
        assert record.previous_hash != GENESIS
        assert await log.verify() == 1

    async def test_more_than_a_portion(self) -> None:
        log = await self.made()
        await gatherResults([ensureDeferred(log.record(entry())) for _ in range(1200)])
        self.clock.advance(2 * DAY)
        await gatherResults([ensureDeferred(log.record(entry())) for _ in range(700)])
        assert await log.prune(1) == 1200
        assert await log.verify() == 700

    async def test_clock_that_went_back(self) -> None:
        log = await self.filled(5)
        self.clock.rightNow -= 4 * DAY
        await log.record(entry())
        self.clock.rightNow += 4 * DAY
        assert await log.prune(2.5) == 2
        assert await self.ids() == [3, 4, 5, 6]
        assert await log.verify() == 4

    async def test_at_once_and_verified_meanwhile(self) -> None:
        log = await self.filled(10)
        first, second, checked = (
            ensureDeferred(log.prune(3)),
            ensureDeferred(log.prune(5)),
            ensureDeferred(log.verify()),
        )
        assert await first + await second == 6
        assert 4 <= await checked <= 10
        assert await log.verify() == 4

    async def test_interrupted_prune_is_finished_by_the_next(self) -> None:
        log = await self.filled(10)
        await self.database.run(execute("INSERT INTO audit_anchor SELECT id, hash, 'then' FROM audit WHERE id = 4"))
        assert await log.verify() == 6
        assert await log.prune(1000) == 4
        assert await self.ids() == [5, 6, 7, 8, 9, 10]

    async def test_anchors_stay(self) -> None:
        log = await self.filled(10)
        await log.prune(3)
        for sql in (
            "DELETE FROM audit_anchor",
            "UPDATE audit_anchor SET through_id = 9",
            "DELETE FROM audit",
        ):
            await self.fails(self.database.run(execute(sql)), IntegrityError)

    async def test_row_missing_after_the_anchor(self) -> None:
        log = await self.filled(10)
        await log.prune(3)
        await self.forge("DELETE FROM audit WHERE id = 7")
        assert (await self.fails(log.verify(), ChainBroken)).id == 7

    async def test_days_to_keep(self) -> None:
        log = await self.filled(2)
        for days in (-1, float("nan")):
            await self.fails(log.prune(days), ValueError)
        assert await log.prune(1e9) == 0


texts = st.text(st.characters(), max_size=20)
entries = st.builds(
    AuditEntry,
    surface=texts,
    actor_kind=texts,
    actor_name=texts,
    action=texts,
    outcome=texts,
    address=st.none() | texts,
    object=st.none() | texts,
    details=st.dictionaries(texts, st.recursive(st.none() | st.floats() | st.integers() | texts, st.lists)),
)


@settings(max_examples=25)
@given(st.lists(entries, min_size=1, max_size=5), st.data())
def test_any_entries_make_a_chain_and_any_forgery_breaks_it(written: list[AuditEntry], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a.db"
        prepare(path)
        engine = make_engine(path)
        log = AuditLog(None, Clock())  # type: ignore[arg-type]
        with engine.begin() as connection:
            for one in written:
                log.record_in(connection, one)
            count, last, _ = module.verify_chunk(driver(connection), 0, GENESIS)
            assert count == last == len(written)
        victim = data.draw(st.integers(1, len(written)))
        column = data.draw(st.sampled_from(["surface", "action", "object", "details", "occurred_at", "hash"]))
        with closing(sqlite3.connect(path)) as owner, owner:
            owner.execute("DROP TRIGGER audit_no_update")
            owner.execute(f"UPDATE audit SET {column} = coalesce({column}, '') || 'x' WHERE id = ?", (victim,))
        with engine.begin() as connection, pytest.raises(ChainBroken, match=f"at row {victim}$"):
            module.verify_chunk(driver(connection), 0, GENESIS)


def test_timestamps_sort_as_time_does() -> None:
    moments = [0, 0.000001, 0.999999, 1, 1_767_225_600.25, 4_102_444_800]
    shown = [timestamp(moment) for moment in moments]
    assert shown == sorted(shown) and {len(moment) for moment in shown} == {27}
    assert shown[0] == "1970-01-01T00:00:00.000000Z"
