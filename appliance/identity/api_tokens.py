"""API tokens: for programs, on behalf of a user, until they are deleted or their day comes."""

import hashlib
import secrets
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
from twisted.internet.interfaces import IReactorTime

from appliance.database.thread import Database
from appliance.identity.signed_tokens import BadToken
from appliance.secret import Secret

PREFIX: Final = "apl_"
"""What every token begins with, for programs that look for secrets where none should be."""

TOKENS_PER_USER: Final = 100

_LENGTH = len(PREFIX) + 43


class ApiToken(msgspec.Struct, kw_only=True):
    """What is known of a token; times are seconds since the epoch. Only `ApiTokens` changes it."""

    id: str
    name: str
    username: str
    created_at: int
    expires_at: int | None = None
    last_used_at: int | None = None


class TooManyApiTokens(Exception):
    """A user has as many as there may be."""

    def __init__(self) -> None:
        super().__init__(f"A user has at most {TOKENS_PER_USER} API tokens; delete one that is not needed")


class UnknownApiToken(Exception):
    """There is no token with this id."""

    def __init__(self, id: str) -> None:
        super().__init__(f"No API token {id!r}")


class ApiTokens:
    """
    All API tokens, held in memory by the hash of their text, which is nowhere stored.

    Changes are durable on return; besides what they name, they raise what `Database.run` raises.
    """

    def __init__(self, clock: IReactorTime, database: Database) -> None:
        self._clock = clock
        self._database = database
        self._by_hash: dict[str, ApiToken] = {}
        self._hashes: dict[str, str] = {}
        self._used: dict[str, int] = {}
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Have `listener` called whenever tokens have just been deleted."""
        self._listeners.append(listener)

    async def load(self) -> None:
        """Read what there is."""
        for hashed, token in await self._database.run_on_driver(_load):
            self._keep(hashed, token)

    def check(self, text: str) -> ApiToken:
        """The token of that text, if it has not expired. Raises `BadToken`."""
        token = self._by_hash.get(_hash(text)) if len(text) == _LENGTH else None
        if token is None or (token.expires_at is not None and token.expires_at <= self._clock.seconds()):
            raise BadToken
        return token

    def note_use(self, text: str) -> None:
        """Remember that the token of that text is used now; `write_uses` stores it. Raises `BadToken`."""
        token = self.check(text)
        token.last_used_at = self._used[token.id] = int(self._clock.seconds())

    async def write_uses(self) -> None:
        """Store when tokens were last used: for once a minute, and at the end."""
        used, self._used = self._used, {}
        if used:
            try:
                await self._database.run_on_driver(partial(_write_uses, used=used))
            except BaseException:
                self._used = {**used, **self._used}
                raise

    def all(self) -> list[ApiToken]:
        """Every token, the oldest first."""
        return sorted(self._by_hash.values(), key=lambda token: (token.created_at, token.id))

    def find(self, id: str) -> ApiToken:
        """The token with that id. Raises `UnknownApiToken`."""
        try:
            return self._by_hash[self._hashes[id]]
        except KeyError:
            raise UnknownApiToken(id) from None

    async def create(self, username: str, name: str, expires_at: int | None = None) -> tuple[Secret, ApiToken]:
        """Make a token of `username`; its text is not to be had again. Raises `TooManyApiTokens`."""
        text = PREFIX + secrets.token_urlsafe(32)
        hashed = _hash(text)
        token = ApiToken(
            id=secrets.token_hex(8),
            name=name,
            username=username,
            created_at=int(self._clock.seconds()),
            expires_at=expires_at,
        )
        await self._database.run_on_driver(partial(_insert, hashed=hashed, token=token))
        self._keep(hashed, token)
        return Secret(text), token

    async def delete(self, id: str) -> None:
        """Delete a token. Raises `UnknownApiToken`."""
        self.find(id)
        if not await self._database.run_on_driver(lambda connection: connection.execute(_DELETE, (id,)).rowcount):
            raise UnknownApiToken(id)
        self._drop(id)
        self._tell()

    async def delete_of(self, username: str) -> None:
        """Delete every token of `username`. At once, whatever the database says; see `Sessions.revoke_user`."""
        self._drop_of(username)
        await self._database.run_on_driver(lambda connection: connection.execute(_DELETE_OF, (username,)).rowcount)
        self._drop_of(username)  # what was being stored meanwhile

    def _keep(self, hashed: str, token: ApiToken) -> None:
        self._by_hash[hashed] = token
        self._hashes[token.id] = hashed

    def _drop(self, id: str) -> None:
        hashed = self._hashes.pop(id, None)
        if hashed is not None:
            del self._by_hash[hashed]
        self._used.pop(id, None)

    def _drop_of(self, username: str) -> None:
        found = [token for token in self._by_hash.values() if token.username == username]
        for token in found:
            self._drop(token.id)
        if found:
            self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# In the database thread.


def _load(connection: sqlite3.Connection) -> list[tuple[str, ApiToken]]:
    return [
        (
            hashed,
            ApiToken(
                id=id,
                name=name,
                username=username,
                created_at=created_at,
                expires_at=expires_at,
                last_used_at=last_used_at,
            ),
        )
        for id, name, username, hashed, created_at, expires_at, last_used_at in connection.execute(_ALL)
    ]


def _insert(connection: sqlite3.Connection, hashed: str, token: ApiToken) -> None:
    (count,) = connection.execute("SELECT count(*) FROM api_tokens WHERE username = ?", (token.username,)).fetchone()
    if count >= TOKENS_PER_USER:
        raise TooManyApiTokens
    connection.execute(_INSERT, {**msgspec.structs.asdict(token), "hash": hashed})


def _write_uses(connection: sqlite3.Connection, used: dict[str, int]) -> None:
    connection.executemany("UPDATE api_tokens SET last_used_at = ? WHERE id = ?", [(at, id) for id, at in used.items()])


_ALL = "SELECT id, name, username, hash, created_at, expires_at, last_used_at FROM api_tokens"
_INSERT = """
    INSERT INTO api_tokens (id, name, username, hash, created_at, expires_at, last_used_at)
    VALUES (:id, :name, :username, :hash, :created_at, :expires_at, :last_used_at)"""
_DELETE = "DELETE FROM api_tokens WHERE id = ?"
_DELETE_OF = "DELETE FROM api_tokens WHERE username = ?"
