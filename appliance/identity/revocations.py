"""Signed tokens that count no more although they have not expired."""

import sqlite3
from collections.abc import Callable
from typing import NamedTuple

from appliance.database.clock import Clock
from appliance.database.thread import Database
from appliance.identity.signed_tokens import Claims

_SWEEP_LEAST = 1000


class _Revoked(NamedTuple):
    """When (a `moment`), and when it may be forgotten (seconds)."""

    at: int
    expires_at: int


class Revocations:
    """Durable in the database, and all in memory; forgotten when what they end has expired anyway.

    Also gives the moments (milliseconds) by which tokens and revocations are put in order: those of the clock, but
    never going back, so that a clock that was set back neither spares a token nor refuses a new one.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._revoked: dict[str, _Revoked] = {}
        self._sweep_at = _SWEEP_LEAST
        self._latest = 0
        self._listeners: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._revoked)

    def listen(self, listener: Callable[[], None]) -> None:
        """Have `listener` called whenever something has just been revoked."""
        self._listeners.append(listener)

    async def load(self) -> None:
        """Read what an earlier server has stored. Raises what `Database.run` raises."""
        now = int(self._clock.seconds())

        def read(connection: sqlite3.Connection) -> list[tuple[str, int, int]]:
            connection.execute("DELETE FROM revocations WHERE expires_at <= ?", (now,))
            return connection.execute("SELECT subject, revoked_at, expires_at FROM revocations").fetchall()

        for subject, at, expires_at in await self._database.run_on_driver(read):
            self._revoked[subject] = _Revoked(at, expires_at)
            self._latest = max(self._latest, at + 1)

    def moment(self) -> int:
        """Now: after every revocation so far, and not before any moment given earlier."""
        self._latest = max(self._latest, int(self._clock.seconds() * 1000))
        return self._latest

    def revoked(self, claims: Claims) -> bool:
        """Whether the token, its session, or all its user had when it was made, was revoked."""
        of_user = self._revoked.get(f"user:{claims.sub}")
        return (
            f"token:{claims.jti}" in self._revoked
            or f"session:{claims.sid}" in self._revoked
            or (of_user is not None and claims.ims <= of_user.at)
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
        now = int(self._clock.seconds())
        revoked = _Revoked(self.moment(), expires_at)
        self._latest += 1

        def store(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM revocations WHERE expires_at <= ?", (now,))
            connection.execute("INSERT OR REPLACE INTO revocations VALUES (?, ?, ?)", (subject, *revoked))

        self._revoked[subject] = revoked
        if len(self._revoked) >= self._sweep_at:
            self._revoked = {subject: each for subject, each in self._revoked.items() if each.expires_at > now}
            self._sweep_at = max(_SWEEP_LEAST, 2 * len(self._revoked))
        for listener in self._listeners:
            listener()
        await self._database.run_on_driver(store)
