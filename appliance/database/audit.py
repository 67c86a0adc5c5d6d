"""
The audit log: who did what to which object, from where, with what outcome; one log for all surfaces.

Rows are only ever added. Each holds the SHA-256 of its own content and, in that content, the hash of the
row before, so that no row can be altered, moved or taken out of the middle without breaking the chain. What
a chain cannot show is that its newest rows are missing: whoever needs that keeps the hash of the newest row
elsewhere.

The statements are SQL for the driver, so that a refused request does not load SQLAlchemy: see `core`.
"""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from appliance.database.clock import Clock, timestamp
from appliance.database.errors import DatabaseError
from appliance.database.file import driver
from appliance.database.redaction import Redactor, clip
from appliance.database.thread import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection

GENESIS: Final = "0" * 64
"""The hash before the first row."""

FIELD_LIMIT: Final = 1024
DETAILS_LIMIT: Final = 1 << 16
ENTRIES_LIMIT: Final = 1000
DAY: Final = 86400.0

_CHUNK = 500


class ChainBroken(DatabaseError):
    """The row `id` is not what was written, or not there."""

    def __init__(self, id: int) -> None:
        super().__init__(f"the audit log is broken at row {id}")
        self.id = id


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What happened; `object` names what was acted upon. Secrets are taken out of `details` when written."""

    surface: str
    actor_kind: str
    actor_name: str
    action: str
    outcome: str
    address: str | None = None
    object: str | None = None
    details: Mapping[str, Any] = {}


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the log, field for column. `occurred_at` is ISO 8601 in UTC, `details` have their secrets replaced."""

    id: int
    occurred_at: str
    surface: str
    actor_kind: str
    actor_name: str
    address: str | None
    action: str
    object: str | None
    outcome: str
    details: dict[str, Any]
    previous_hash: str
    hash: str


class AuditLog:
    """The log in `database`, with the time of `clock`; `redactor` knows which fields of details to hide."""

    def __init__(self, database: Database, clock: Clock, redactor: Redactor | None = None) -> None:
        self._database = database
        self._clock = clock
        self._redactor = redactor or Redactor()

    async def record(self, entry: AuditEntry) -> int:
        """Write `entry` and return its id when it is durable. Raises what `Database.run` raises."""
        row = self._row(entry)
        return await self._database.run_on_driver(lambda connection: _append(connection, row))

    def record_in(self, connection: "Connection", entry: AuditEntry) -> int:
        """Write `entry` in the transaction of the caller, in the database thread, and return its id."""
        return _append(driver(connection), self._row(entry))

    async def entries(
        self, limit: int = 100, before: int | None = None, surface: str | None = None
    ) -> list[AuditRecord]:
        """The newest rows first, those older than the row `before`, at most `ENTRIES_LIMIT`."""
        limit = max(0, min(limit, ENTRIES_LIMIT))
        work = partial(_page, limit=limit, before=_LAST_ID if before is None else before, surface=surface)
        return [_record(row) for row in await self._database.run_on_driver(work)]

    async def verify(self) -> int:
        """
        Recompute the whole chain and return the number of rows; in portions, other work goes on meanwhile.

        Raises `ChainBroken` with the first row that is wrong or missing.
        """
        count, position, expected = 0, 0, GENESIS
        while True:
            work = partial(verify_chunk, position=position, expected=expected)
            checked, position, expected = await self._database.run_on_driver(work)
            if not checked:
                return count
            count += checked

    async def prune(self, keep_days: float) -> int:
        """
        Remove the rows older than `keep_days` and return their number. The chain of the others still
        verifies.

        Only the oldest part of the log goes: a row stays if one before it is young enough to stay. In
        portions, like `verify`; one that was interrupted is finished by the next.
        """
        if not keep_days >= 0:
            raise ValueError("the log is kept for a number of days")
        now = self._clock.seconds()
        cutoff = timestamp(max(0.0, now - keep_days * DAY))
        last = 0
        while (further := await self._database.run_on_driver(partial(_older, after=last, cutoff=cutoff))) > last:
            last = further
        await self._database.run_on_driver(partial(_anchor, through=last, pruned_at=timestamp(now)))
        removed = 0
        while portion := await self._database.run_on_driver(_remove_anchored):
            removed += portion
        return removed

    def _row(self, entry: AuditEntry) -> dict[str, Any]:
        details = _canonical(self._redactor.redact(entry.details))
        if len(details) > DETAILS_LIMIT:
            details = _canonical({"omitted": f"<{len(details)} characters of details>"})
        return {
            "occurred_at": timestamp(self._clock.seconds()),
            "surface": clip(entry.surface, FIELD_LIMIT),
            "actor_kind": clip(entry.actor_kind, FIELD_LIMIT),
            "actor_name": clip(entry.actor_name, FIELD_LIMIT),
            "address": None if entry.address is None else clip(entry.address, FIELD_LIMIT),
            "action": clip(entry.action, FIELD_LIMIT),
            "object": None if entry.object is None else clip(entry.object, FIELD_LIMIT),
            "outcome": clip(entry.outcome, FIELD_LIMIT),
            "details": details,
        }


def _canonical(value: Any) -> str:
    """One text for one value: keys in order of their code points, no white space, ASCII only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _hash(row: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of all columns but the hash itself."""
    content = {name: value for name, value in row.items() if name != "hash"}
    return hashlib.sha256(_canonical(content).encode()).hexdigest()


def _append(connection: sqlite3.Connection, row: Mapping[str, Any]) -> int:
    last_id, last_hash = _newest(connection)
    id = last_id + 1
    full = {**row, "id": id, "previous_hash": last_hash}
    connection.execute(_INSERT, {**full, "hash": _hash(full)})
    return id


def _newest(connection: sqlite3.Connection) -> tuple[int, str]:
    row = connection.execute("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1").fetchone()
    return row or _anchored(connection)


def _anchored(connection: sqlite3.Connection) -> tuple[int, str]:
    query = "SELECT through_id, hash FROM audit_anchor ORDER BY through_id DESC LIMIT 1"
    return connection.execute(query).fetchone() or (0, GENESIS)


def _page(connection: sqlite3.Connection, limit: int, before: int, surface: str | None) -> list[tuple[Any, ...]]:
    if surface is None:
        return connection.execute(_PAGE, (before, limit)).fetchall()
    return connection.execute(_PAGE_OF_SURFACE, (surface, before, limit)).fetchall()


def verify_chunk(connection: sqlite3.Connection, position: int, expected: str) -> tuple[int, int, str]:
    """Check the rows after `position`; the number checked, and the id and hash of the last of them."""
    anchor, anchor_hash = _anchored(connection)
    if anchor > position:
        position, expected = anchor, anchor_hash
    rows = connection.execute(_CHUNK_AFTER, (position, _CHUNK)).fetchall()
    for values in rows:
        row = _named(values)
        if row["id"] != position + 1:
            raise ChainBroken(position + 1)
        if row["previous_hash"] != expected or row["hash"] != _hash(row):
            raise ChainBroken(row["id"])
        position, expected = row["id"], row["hash"]
    return len(rows), position, expected


def _older(connection: sqlite3.Connection, after: int, cutoff: str) -> int:
    """The last of the next rows that, with all before it, is older than `cutoff`; else `after`."""
    after = max(after, _anchored(connection)[0])
    query = "SELECT id, occurred_at FROM audit WHERE id > ? ORDER BY id LIMIT ?"
    for id, occurred_at in connection.execute(query, (after, _CHUNK)).fetchall():
        if occurred_at >= cutoff:
            break
        after = id
    return after


def _anchor(connection: sqlite3.Connection, through: int, pruned_at: str) -> None:
    if through > _anchored(connection)[0]:
        connection.execute(_ANCHOR, (pruned_at, through))


def _remove_anchored(connection: sqlite3.Connection) -> int:
    through, _ = _anchored(connection)
    return connection.execute(_REMOVE, (through, _CHUNK)).rowcount


def _named(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(AuditRecord.__struct_fields__, row, strict=True))


def _record(row: tuple[Any, ...]) -> AuditRecord:
    values = _named(row)
    values["details"] = json.loads(values["details"])
    return AuditRecord(**values)


_LAST_ID = (1 << 63) - 1

# Columns in the order of the fields of `AuditRecord`.
_PAGE = """
    SELECT id, occurred_at, surface, actor_kind, actor_name, address, action, object, outcome, details,
        previous_hash, hash
    FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?"""
_PAGE_OF_SURFACE = """
    SELECT id, occurred_at, surface, actor_kind, actor_name, address, action, object, outcome, details,
        previous_hash, hash
    FROM audit WHERE surface = ? AND id < ? ORDER BY id DESC LIMIT ?"""
_CHUNK_AFTER = """
    SELECT id, occurred_at, surface, actor_kind, actor_name, address, action, object, outcome, details,
        previous_hash, hash
    FROM audit WHERE id > ? ORDER BY id LIMIT ?"""
_INSERT = """
    INSERT INTO audit (id, occurred_at, surface, actor_kind, actor_name, address, action, object, outcome,
        details, previous_hash, hash)
    VALUES (:id, :occurred_at, :surface, :actor_kind, :actor_name, :address, :action, :object, :outcome,
        :details, :previous_hash, :hash)"""
_ANCHOR = """
    INSERT INTO audit_anchor (through_id, hash, pruned_at) SELECT id, hash, ? FROM audit WHERE id = ?"""
_REMOVE = """
    DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id <= ? ORDER BY id LIMIT ?)"""
