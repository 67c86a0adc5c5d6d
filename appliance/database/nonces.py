"""Remembers what may be used once: nonces of signed requests, one-time codes."""

import math
import sqlite3
from typing import Final

from appliance.database.clock import Clock
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
            "scope": scope,
            "nonce": nonce,
            "until": math.ceil(now + lifetime_seconds),
            "now": math.floor(now),
        }

        def take(connection: sqlite3.Connection) -> bool:
            connection.execute(_SWEEP, (row["now"], SWEEP_LIMIT))
            return connection.execute(_TAKE, row).rowcount == 1

        return await self._database.run_on_driver(take)


_SWEEP = """
    DELETE FROM nonces WHERE (scope, nonce) IN (
        SELECT scope, nonce FROM nonces WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"""
# The row of an expired nonce that no sweep has met yet is as good as none.
_TAKE = """
    INSERT INTO nonces (scope, nonce, expires_at) VALUES (:scope, :nonce, :until)
    ON CONFLICT (scope, nonce) DO UPDATE SET expires_at = excluded.expires_at WHERE expires_at <= :now"""
