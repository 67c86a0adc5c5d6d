"""Signed tokens that count no more although they have not expired."""

import sqlite3
from collections.abc import Callable

from appliance.database.clock import Clock
from appliance.database.thread import Database
from appliance.identity.signed_tokens import Claims


class Revocations:
    """Durable in the database, and all in memory: they are forgotten when what they end has expired anyway."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._revoked: dict[str, int] = {}
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Have `listener` called whenever something has just been revoked."""
        self._listeners.append(listener)

    async def load(self) -> None:
        """Read what an earlier server has stored. Raises what `Database.run` raises."""
        now = int(self._clock.seconds())

        def read(connection: sqlite3.Connection) -> list[tuple[str, int]]:
            connection.execute("DELETE FROM revocations WHERE expires_at <= ?", (now,))
            return connection.execute("SELECT subject, revoked_at FROM revocations").fetchall()

        self._revoked.update(await self._database.run_on_driver(read))

    def revoked(self, claims: Claims) -> bool:
        """Whether the token, its session, or all its user had when it was made, was revoked."""
        of_user = self._revoked.get(f"user:{claims.sub}")
        return (
            f"token:{claims.jti}" in self._revoked
            or f"session:{claims.sid}" in self._revoked
            or (of_user is not None and claims.ims <= of_user)
        )

    async def revoke_token(self, claims: Claims) -> None:
        """End one token. Durable on return."""
        await self._store(f"token:{claims.jti}", claims.exp)

    async def revoke_session(self, session: str, until: int) -> None:
        """End every token of a session, the last of which expires at `until`."""
        await self._store(f"session:{session}", until)

    async def revoke_user(self, name: str, until: int) -> None:
        """End every token that the user `name` has now."""
        await self._store(f"user:{name}", until)

    async def _store(self, subject: str, expires_at: int) -> None:
        now = self._clock.seconds()
        row = (subject, int(now * 1000), expires_at)

        def store(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM revocations WHERE expires_at <= ?", (int(now),))
            connection.execute("INSERT OR REPLACE INTO revocations VALUES (?, ?, ?)", row)

        self._revoked[subject] = row[1]
        for listener in self._listeners:
            listener()
        await self._database.run_on_driver(store)
