"""
The audit log: who did what to which object, from where, with what outcome; one log for all surfaces.

Rows are only ever added. Each holds the SHA-256 of its own content and, in that content, the hash of the
row before, so that no row can be altered, moved or taken out of the middle without breaking the chain. What
a chain cannot show is that its newest rows are missing: whoever needs that keeps the hash of the newest row
elsewhere.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select

from appliance.database.clock import Clock, timestamp
from appliance.database.errors import DatabaseError
from appliance.database.redaction import Redactor, clip
from appliance.database.schema import audit, audit_anchor
from appliance.database.thread import Database

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
    """A row of the log. `occurred_at` is ISO 8601 in UTC, `details` have their secrets replaced."""

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
        return await self._database.run(lambda connection: _append(connection, row))

    def record_in(self, connection: Connection, entry: AuditEntry) -> int:
        """Write `entry` in the transaction of the caller, in the database thread, and return its id."""
        return _append(connection, self._row(entry))

    async def entries(
        self, limit: int = 100, before: int | None = None, surface: str | None = None
    ) -> list[AuditRecord]:
        """The newest rows first, those older than the row `before`, at most `ENTRIES_LIMIT`."""
        query = select(audit).order_by(audit.c.id.desc()).limit(max(0, min(limit, ENTRIES_LIMIT)))
        if before is not None:
            query = query.where(audit.c.id < before)
        if surface is not None:
            query = query.where(audit.c.surface == surface)
        rows = await self._database.run(lambda connection: connection.execute(query).all())
        return [_record(row) for row in rows]

    async def verify(self) -> int:
        """
        Recompute the whole chain and return the number of rows; in portions, other work goes on meanwhile.

        Raises `ChainBroken` with the first row that is wrong or missing.
        """
        count, position, expected = 0, 0, GENESIS
        while True:
            work = partial(verify_chunk, position=position, expected=expected)
            checked, position, expected = await self._database.run(work)
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
        while (further := await self._database.run(partial(_older, after=last, cutoff=cutoff))) > last:
            last = further
        await self._database.run(partial(_anchor, through=last, pruned_at=timestamp(now)))
        removed = 0
        while portion := await self._database.run(_remove_anchored):
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


def _append(connection: Connection, row: Mapping[str, Any]) -> int:
    last_id, last_hash = _newest(connection)
    full = {**row, "id": last_id + 1, "previous_hash": last_hash}
    connection.execute(_INSERT, {**full, "hash": _hash(full)})
    return last_id + 1


def _newest(connection: Connection) -> tuple[int, str]:
    row = connection.execute(_NEWEST).first()
    return (row.id, row.hash) if row is not None else _anchored(connection)


def _anchored(connection: Connection) -> tuple[int, str]:
    row = connection.execute(_NEWEST_ANCHOR).first()
    return (row.through_id, row.hash) if row is not None else (0, GENESIS)


def verify_chunk(connection: Connection, position: int, expected: str) -> tuple[int, int, str]:
    """Check the rows after `position`; the number checked, and the id and hash of the last of them."""
    anchor, anchor_hash = _anchored(connection)
    if anchor > position:
        position, expected = anchor, anchor_hash
    query = select(audit).where(audit.c.id > position).order_by(audit.c.id).limit(_CHUNK)
    rows = connection.execute(query).all()
    for row in rows:
        if row.id != position + 1:
            raise ChainBroken(position + 1)
        if row.previous_hash != expected or row.hash != _hash(row._asdict()):
            raise ChainBroken(row.id)
        position, expected = row.id, row.hash
    return len(rows), position, expected


def _older(connection: Connection, after: int, cutoff: str) -> int:
    """The last of the next rows that, with all before it, is older than `cutoff`; else `after`."""
    after = max(after, _anchored(connection)[0])
    query = select(audit.c.id, audit.c.occurred_at).where(audit.c.id > after).order_by(audit.c.id)
    for row in connection.execute(query.limit(_CHUNK)).all():
        if row.occurred_at >= cutoff:
            break
        after = row.id
    return after


def _anchor(connection: Connection, through: int, pruned_at: str) -> None:
    if through > _anchored(connection)[0]:
        last = connection.execute(select(audit.c.hash).where(audit.c.id == through)).scalar_one()
        connection.execute(insert(audit_anchor).values(through_id=through, hash=last, pruned_at=pruned_at))


def _remove_anchored(connection: Connection) -> int:
    through = _anchored(connection)[0]
    gone = select(audit.c.id).where(audit.c.id <= through).order_by(audit.c.id).limit(_CHUNK)
    return connection.execute(delete(audit).where(audit.c.id.in_(gone))).rowcount


def _record(row: Row[Any]) -> AuditRecord:
    values = row._asdict()
    values["details"] = json.loads(values["details"])
    return AuditRecord(**values)


_INSERT = insert(audit)
_NEWEST = select(audit.c.id, audit.c.hash).order_by(audit.c.id.desc()).limit(1)
_NEWEST_ANCHOR = select(audit_anchor).order_by(audit_anchor.c.through_id.desc()).limit(1)
