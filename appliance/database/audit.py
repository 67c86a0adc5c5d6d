"""
The audit log: who did what to which object, from where, with what outcome; one log for all surfaces.

Rows are only ever added. Each holds the SHA-256 of its own content and, in that content, the hash of the
row before, so that no row can be altered, moved or taken out of the middle without breaking the chain. What
a chain cannot show is that its newest rows are missing: whoever needs that keeps the hash of the newest row
elsewhere.
"""

import json
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from appliance.database.audit_chain import GENESIS, ChainBroken, canonical
from appliance.database.clock import Clock, timestamp
from appliance.database.file import connect
from appliance.database.lazy import LazyModule
from appliance.database.redaction import Redactor, clip
from appliance.database.thread import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from appliance.database import audit_rows
else:
    audit_rows = LazyModule("appliance.database.audit_rows")

__all__ = ["GENESIS", "AuditEntry", "AuditLog", "AuditRecord", "ChainBroken"]

FIELD_LIMIT: Final = 1024
DETAILS_LIMIT: Final = 1 << 16
ENTRIES_LIMIT: Final = 1000
DAY: Final = 86400.0


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
        return await self._database.run(lambda connection: audit_rows.append(connection, row))

    def record_in(self, connection: "Connection", entry: AuditEntry) -> int:
        """Write `entry` in the transaction of the caller, in the database thread, and return its id."""
        return audit_rows.append(connection, self._row(entry))

    async def entries(
        self, limit: int = 100, before: int | None = None, surface: str | None = None
    ) -> list[AuditRecord]:
        """The newest rows first, those older than the row `before`, at most `ENTRIES_LIMIT`."""
        limit = max(0, min(limit, ENTRIES_LIMIT))
        work = partial(audit_rows.newest_rows, limit=limit, before=before, surface=surface)
        rows = await self._database.run(work)
        return [_record(row) for row in rows]

    async def verify(self) -> int:
        """
        Recompute the whole chain and return the number of rows; in portions, other work goes on meanwhile.

        Raises `ChainBroken` with the first row that is wrong or missing.
        """
        count, position, expected = 0, 0, GENESIS
        while True:
            work = partial(audit_rows.verify_chunk, position=position, expected=expected)
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
        cutoff = self._cutoff(keep_days)
        last = 0
        while (further := await self._database.run(partial(audit_rows.older, after=last, cutoff=cutoff))) > last:
            last = further
        await self._database.run(partial(audit_rows.anchor, through=last, pruned_at=timestamp(self._clock.seconds())))
        removed = 0
        while portion := await self._database.run(audit_rows.remove_anchored):
            removed += portion
        return removed

    def is_due(self, keep_days: float) -> bool:
        """
        Whether `prune` would begin to remove rows now. Blocking; raises the errors of `sqlite3`.

        Asked beforehand by who prunes now and then: the answer does not need SQLAlchemy.
        """
        with closing(connect(self._database.path)) as connection:
            oldest = connection.execute("SELECT occurred_at FROM audit ORDER BY id LIMIT 1").fetchone()
        return oldest is not None and oldest[0] < self._cutoff(keep_days)

    def _cutoff(self, keep_days: float) -> str:
        if not keep_days >= 0:
            raise ValueError("the log is kept for a number of days")
        return timestamp(max(0.0, self._clock.seconds() - keep_days * DAY))

    def _row(self, entry: AuditEntry) -> dict[str, Any]:
        details = canonical(self._redactor.redact(entry.details))
        if len(details) > DETAILS_LIMIT:
            details = canonical({"omitted": f"<{len(details)} characters of details>"})
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


def _record(row: "Row[Any]") -> AuditRecord:
    values = row._asdict()
    values["details"] = json.loads(values["details"])
    return AuditRecord(**values)
