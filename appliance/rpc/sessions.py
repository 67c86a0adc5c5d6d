"""Which tokens live: a row of the database for each, all of them in memory."""

import secrets
import sqlite3
from functools import partial

import msgspec
from twisted.internet.interfaces import IReactorTime

from appliance.database.thread import Database
from appliance.identity.signed_tokens import EXPIRED, BadToken
from appliance.rpc.identities import Identity
from appliance.rpc.tokens import LIFETIME, SUDO_SECONDS, TOTAL_LIFETIME, Claims, Tokens

SESSIONS_PER_USER = 10_000
_MAX_ENDED = 10_000


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A token that counts. Times are seconds; a `pending` one waits for the second factor."""

    jti: str
    username: str
    address: str
    credential: str
    pending: bool
    created_at: int
    expires_at: int


class Granted(msgspec.Struct, frozen=True):
    """A new token, and when it ends."""

    token: str
    expires_at: int


class NotLive(Exception):
    """The token was revoked, or waits for the second factor."""


class Sessions:
    """
    The sessions of this surface. A check costs the same however many there are.

    Changes are durable on return; besides what they name, they raise what `Database.run` raises. `load` comes first.
    """

    def __init__(self, clock: IReactorTime, database: Database, tokens: Tokens) -> None:
        self._clock = clock
        self._database = database
        self._tokens = tokens
        self._live: dict[str, Session] = {}
        self._of_user: dict[str, dict[str, None]] = {}
        self._ended: dict[str, float] = {}

    async def load(self) -> None:
        """Read what an earlier server left."""
        for session in await self._database.run_on_driver(partial(_load, now=self._now())):
            self._keep(session)

    def find(self, claims: Claims) -> Session | None:
        """The session of a token; None where it was revoked."""
        found = self._live.get(claims.jti)
        return found if found is not None and found.username == claims.id else None

    def all(self) -> list[Session]:
        """Every session, the oldest first."""
        now = self._now()
        return sorted((each for each in self._live.values() if each.expires_at > now), key=lambda each: each.created_at)

    async def begin(self, user: Identity, address: str, *, since: float, pending: bool) -> Granted:
        """
        A session of a user whose password was looked at after `since` (seconds of the clock).

        Raises `NotLive` where his sessions were ended meanwhile: the password may have been the old one.
        """
        now = self._now()
        claims = Claims(
            id=user.name,
            jti=secrets.token_hex(16),
            orig_iat=now,
            exp=now + LIFETIME,
            two_factor=pending,
            role="admin" if user.administers else "user",
            actions=(),
        )
        session = Session(
            jti=claims.jti,
            username=user.name,
            address=address,
            credential=user.credential,
            pending=pending,
            created_at=now,
            expires_at=claims.exp,
        )
        surplus = self._surplus(user.name)
        await self._database.run_on_driver(partial(_replace, old=surplus, new=session))
        self._drop(surplus)
        self._keep(session)
        if self._ended.get(user.name, -1.0) >= since:
            await self.end(claims)
            raise NotLive
        return Granted(self._tokens.sign(claims), claims.exp)

    async def renew(self, claims: Claims) -> Granted:
        """A new token in the place of a live one, which ends. Raises `NotLive`, `BadToken` at the end of all life."""
        old = self._live_one(claims)
        now = self._now()
        until = min(now + LIFETIME, claims.orig_iat + TOTAL_LIFETIME)
        if until <= now:
            raise BadToken(EXPIRED)
        new = msgspec.structs.replace(claims, jti=secrets.token_hex(16), exp=until)
        session = msgspec.structs.replace(old, jti=new.jti, expires_at=until)
        await self._database.run_on_driver(partial(_succeed, old=old.jti, new=session, keep=False))
        self._drop([old.jti])
        self._keep(session)
        return Granted(self._tokens.sign(new), until)

    async def raise_to_sudo(self, claims: Claims) -> Granted:
        """A token with the `sudo` claim beside a live one, for as long as that. Raises `NotLive`."""
        old = self._live_one(claims)
        new = msgspec.structs.replace(claims, jti=secrets.token_hex(16), sudo=self._now())
        session = msgspec.structs.replace(old, jti=new.jti)
        await self._database.run_on_driver(partial(_succeed, old=old.jti, new=session, keep=True))
        self._keep(session)
        return Granted(self._tokens.sign(new), claims.exp)

    def in_sudo(self, claims: Claims) -> bool:
        """Whether the password was given once more in the last five minutes."""
        return claims.sudo is not None and 0 <= self._clock.seconds() - claims.sudo <= SUDO_SECONDS

    async def confirm(self, claims: Claims, *, alone: bool) -> None:
        """
        The second factor was shown with this token, which is live from now on. Raises `NotLive`.

        With `alone` all others of its user end.
        """
        session = self.find(claims)
        if session is None:
            raise NotLive
        if alone:
            self._note_end(claims.id)
        await self._database.run_on_driver(partial(_confirm, jti=claims.jti, username=claims.id, alone=alone))
        if alone:
            self._drop([jti for jti in self._of_user.get(claims.id, {}) if jti != claims.jti])
        self._keep(msgspec.structs.replace(session, pending=False))

    async def end(self, claims: Claims) -> None:
        """End one session."""
        self._drop([claims.jti])
        await self._database.run_on_driver(partial(_delete, jtis=[claims.jti]))

    async def end_all(self, username: str) -> None:
        """End every session that a user has now: at once, whatever the database says."""
        self._note_end(username)
        self._drop(list(self._of_user.get(username, {})))
        await self._database.run_on_driver(partial(_delete_of, username=username))
        self._drop(list(self._of_user.get(username, {})))  # what was being stored meanwhile

    async def prune(self) -> None:
        """Forget what has expired."""
        now = self._now()
        self._drop([jti for jti, session in self._live.items() if session.expires_at <= now])
        await self._database.run_on_driver(partial(_prune, now=now))

    def _now(self) -> int:
        return int(self._clock.seconds())

    def _live_one(self, claims: Claims) -> Session:
        session = self.find(claims)
        if session is None or session.pending:
            raise NotLive
        return session

    def _note_end(self, username: str) -> None:
        """Log-ins whose password has been looked at before now must not begin a session."""
        self._ended.pop(username, None)
        if len(self._ended) >= _MAX_ENDED:
            del self._ended[next(iter(self._ended))]
        self._ended[username] = self._clock.seconds()

    def _surplus(self, username: str) -> list[str]:
        """The oldest session of a user who has as many as there may be."""
        jtis = self._of_user.get(username, {})
        return [next(iter(jtis))] if len(jtis) >= SESSIONS_PER_USER else []

    def _keep(self, session: Session) -> None:
        self._live[session.jti] = session
        self._of_user.setdefault(session.username, {})[session.jti] = None

    def _drop(self, jtis: list[str]) -> None:
        for jti in jtis:
            session = self._live.pop(jti, None)
            if session is not None:
                jtis_of_user = self._of_user[session.username]
                jtis_of_user.pop(jti, None)
                if not jtis_of_user:
                    del self._of_user[session.username]


# In the database thread.


def _load(connection: sqlite3.Connection, now: int) -> list[Session]:
    _prune(connection, now)
    return [
        Session(
            jti=jti,
            username=username,
            address=address,
            credential=credential,
            pending=bool(pending),
            created_at=created_at,
            expires_at=expires_at,
        )
        for jti, username, address, credential, pending, created_at, expires_at in connection.execute(_ALL)
    ]


def _replace(connection: sqlite3.Connection, old: list[str], new: Session) -> None:
    _delete(connection, old)
    connection.execute(_INSERT, msgspec.structs.asdict(new))


def _succeed(connection: sqlite3.Connection, old: str, new: Session, keep: bool) -> None:
    """Put a session beside or in the place of a live one, which may have ended since it was looked up."""
    if connection.execute("SELECT 1 FROM rpc_sessions WHERE jti = ? AND pending = 0", (old,)).fetchone() is None:
        raise NotLive
    _replace(connection, [] if keep else [old], new)


def _confirm(connection: sqlite3.Connection, jti: str, username: str, alone: bool) -> None:
    if connection.execute("UPDATE rpc_sessions SET pending = 0 WHERE jti = ?", (jti,)).rowcount == 0:
        raise NotLive
    if alone:
        connection.execute("DELETE FROM rpc_sessions WHERE username = ? AND jti <> ?", (username, jti))


def _delete(connection: sqlite3.Connection, jtis: list[str]) -> None:
    connection.executemany("DELETE FROM rpc_sessions WHERE jti = ?", [(jti,) for jti in jtis])


def _delete_of(connection: sqlite3.Connection, username: str) -> None:
    connection.execute("DELETE FROM rpc_sessions WHERE username = ?", (username,))


def _prune(connection: sqlite3.Connection, now: int) -> None:
    connection.execute("DELETE FROM rpc_sessions WHERE expires_at <= ?", (now,))


_ALL = """
    SELECT jti, username, address, credential, pending, created_at, expires_at FROM rpc_sessions
    ORDER BY created_at, expires_at"""
_INSERT = """
    INSERT INTO rpc_sessions (jti, username, address, credential, pending, created_at, expires_at)
    VALUES (:jti, :username, :address, :credential, :pending, :created_at, :expires_at)"""
