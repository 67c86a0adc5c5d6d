"""
The statements of the nonces. They run in the database thread, within the transaction of the connection.

Imported by that thread at its first use, see `lazy`.
"""

from sqlalchemy import Connection, bindparam, delete, select, tuple_
from sqlalchemy.dialects.sqlite import insert

from appliance.database.schema import nonces

_KEY = (nonces.c.scope, nonces.c.nonce)
_SWEEP = delete(nonces).where(
    tuple_(*_KEY).in_(
        select(*_KEY)
        .where(nonces.c.expires_at <= bindparam("now"))
        .order_by(nonces.c.expires_at)
        .limit(bindparam("sweep"))
    )
)
# The row of an expired nonce that no sweep has met yet is as good as none.
_INSERT = insert(nonces).values(scope=bindparam("in_scope"), nonce=bindparam("taken"), expires_at=bindparam("until"))
_TAKE = _INSERT.on_conflict_do_update(
    index_elements=_KEY,
    set_={"expires_at": _INSERT.excluded.expires_at},
    where=nonces.c.expires_at <= bindparam("now"),
)


def take(connection: Connection, scope: str, nonce: str, until: int, now: int, sweep: int) -> bool:
    """Remove up to `sweep` rows that are expired `now`, then take `nonce`; False where it is taken."""
    connection.execute(_SWEEP, {"now": now, "sweep": sweep})
    taking = {"in_scope": scope, "taken": nonce, "until": until, "now": now}
    return connection.execute(_TAKE, taking).rowcount == 1
