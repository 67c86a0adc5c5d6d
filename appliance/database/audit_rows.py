"""
The statements of the audit log. They run in the database thread, within the transaction of the connection.

Imported by that thread at its first use, see `lazy`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from appliance.database.audit_chain import GENESIS, ChainBroken, row_hash
from appliance.database.schema import audit, audit_anchor

_CHUNK = 500

_INSERT = insert(audit)
_NEWEST = select(audit.c.id, audit.c.hash).order_by(audit.c.id.desc()).limit(1)
_NEWEST_ANCHOR = select(audit_anchor).order_by(audit_anchor.c.through_id.desc()).limit(1)


def newest_rows(connection: Connection, limit: int, before: int | None, surface: str | None) -> Sequence[Row[Any]]:
    """At most `limit` rows, the newest first, older than the row `before`."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.id < before)
    if surface is not None:
        query = query.where(audit.c.surface == surface)
    return connection.execute(query).all()


def append(connection: Connection, row: Mapping[str, Any]) -> int:
    """Add `row`, all but its id and hashes, to the chain; its id."""
    last_id, last_hash = _newest(connection)
    full = {**row, "id": last_id + 1, "previous_hash": last_hash}
    connection.execute(_INSERT, {**full, "hash": row_hash(full)})
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
        if row.previous_hash != expected or row.hash != row_hash(row._asdict()):
            raise ChainBroken(row.id)
        position, expected = row.id, row.hash
    return len(rows), position, expected


def older(connection: Connection, after: int, cutoff: str) -> int:
    """The last of the next rows that, with all before it, is older than `cutoff`; else `after`."""
    after = max(after, _anchored(connection)[0])
    query = select(audit.c.id, audit.c.occurred_at).where(audit.c.id > after).order_by(audit.c.id)
    for row in connection.execute(query.limit(_CHUNK)).all():
        if row.occurred_at >= cutoff:
            break
        after = row.id
    return after


def anchor(connection: Connection, through: int, pruned_at: str) -> None:
    """Write down that the rows up to `through` may go, unless newer ones may already."""
    if through > _anchored(connection)[0]:
        last = connection.execute(select(audit.c.hash).where(audit.c.id == through)).scalar_one()
        connection.execute(insert(audit_anchor).values(through_id=through, hash=last, pruned_at=pruned_at))


def remove_anchored(connection: Connection) -> int:
    """Remove some of the rows that may go; their number."""
    through = _anchored(connection)[0]
    gone = select(audit.c.id).where(audit.c.id <= through).order_by(audit.c.id).limit(_CHUNK)
    return connection.execute(delete(audit).where(audit.c.id.in_(gone))).rowcount
