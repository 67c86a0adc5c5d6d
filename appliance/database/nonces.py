"""Remembers what may be used once: nonces of signed requests, one-time codes."""

import math
from functools import partial
from typing import TYPE_CHECKING, Final

from appliance.database.clock import Clock
from appliance.database.lazy import LazyModule
from appliance.database.thread import Database

if TYPE_CHECKING:
    from appliance.database import nonce_rows
else:
    nonce_rows = LazyModule("appliance.database.nonce_rows")

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
        work = partial(
            nonce_rows.take,
            scope=scope,
            nonce=nonce,
            until=math.ceil(now + lifetime_seconds),
            now=math.floor(now),
            sweep=SWEEP_LIMIT,
        )
        return await self._database.run(work)
