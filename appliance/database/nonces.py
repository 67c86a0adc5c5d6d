"""Remembers what may be used once: nonces of signed requests, one-time codes."""

import math
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select, tuple_
from sqlalchemy.dialects.sqlite import insert

from appliance.database.clock import Clock
from appliance.database.schema import nonces
from appliance.database.thread import Database

LENGTH_LIMIT: Final = 256
SWEEP_LIMIT: Final = 100
"""Expired rows removed by one use: more than the one row it adds, few enough not to be felt."""


class Nonces:
    """The nonces in use, each in its scope (one verifier, one purpose) until it expires."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def use(self, scope: str, nonce: str, lifetime_seconds: float) -> bool:
        """
        Take `nonce` for `lifetime_seconds`; False when it is taken already, which is a replay.

        Durable on return, so that a restart forgets none. Raises `ValueError` for a text that is empty,
        longer than `LENGTH_LIMIT` or not Unicode, and what `Database.run` raises.
        """
        for text in (scope, nonce):
            if not 0 < len(text) <= LENGTH_LIMIT:
                raise ValueError(f"a nonce and its scope have 1 to {LENGTH_LIMIT} characters")
            text.encode()
        now = self._clock.seconds()
        row = {
            "in_scope": scope,
            "taken": nonce,
            "until": math.ceil(now + lifetime_seconds),
            "now": math.floor(now),
        }

        def take(connection: Connection) -> bool:
            connection.execute(_SWEEP, {"now": row["now"]})
            return connection.execute(_TAKE, row).rowcount == 1

        return await self._database.run(take)


_KEY = (nonces.c.scope, nonces.c.nonce)
_SWEEP = delete(nonces).where(
    tuple_(*_KEY).in_(
        select(*_KEY)
        .where(nonces.c.expires_at <= bindparam("now"))
        .order_by(nonces.c.expires_at)
        .limit(SWEEP_LIMIT)
    )
)
# The row of an expired nonce that no sweep has met yet is as good as none.
_INSERT = insert(nonces).values(
    scope=bindparam("in_scope"), nonce=bindparam("taken"), expires_at=bindparam("until")
)
_TAKE = _INSERT.on_conflict_do_update(
    index_elements=_KEY,
    set_={"expires_at": _INSERT.excluded.expires_at},
    where=nonces.c.expires_at <= bindparam("now"),
)
