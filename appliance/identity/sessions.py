"""Log-ins: a token for requests, and a longer one to renew it with, of one session."""

import secrets
from pathlib import Path

import msgspec
from twisted.internet.interfaces import IReactorTime

from appliance.identity.revocations import Revocations
from appliance.identity.signed_tokens import BadToken, Claims, SignedTokens, load_key

LIFETIME = 24 * 3600
REFRESH_LIFETIME = 7 * 24 * 3600


class Granted(msgspec.Struct, frozen=True):
    """What a log-in gives; `expires_at` is that of `token`, in seconds since the epoch."""

    token: str
    refresh_token: str
    expires_at: int


class Sessions:
    """The sessions of one surface, by its name. `prepare` and then `Revocations.load` come before all else."""

    def __init__(self, clock: IReactorTime, key_file: Path, revocations: Revocations, surface: str) -> None:
        self._clock = clock
        self._key_file = key_file
        self._revocations = revocations
        self._surface = surface
        self._access: SignedTokens | None = None
        self._refresh: SignedTokens | None = None

    def prepare(self) -> None:
        """Read the key, or make it. Blocking; raises `KeyUnusable`."""
        key = load_key(self._key_file)
        self._access = SignedTokens(self._clock, key, f"appliance:{self._surface}")
        self._refresh = SignedTokens(self._clock, key, f"appliance:{self._surface}:refresh")

    def moment(self) -> int:
        """A moment for `begin`: to be taken before the password is looked at."""
        return self._revocations.moment()

    def begin(self, user: str, since: int) -> Granted:
        """A new session of `user`, whose password was looked at after `since`.

        What was revoked since then covers it: the password may have been the old one.
        """
        return self._grant(user, secrets.token_hex(16), since)

    def check(self, token: str) -> Claims:
        """Whose token this is. Raises `BadToken`."""
        return self._live(self._access, token)

    async def renew(self, claims: Claims, refresh_token: str | None) -> Granted:
        """New tokens for the session of `claims`; `refresh_token` is used up. Raises `BadToken`."""
        since = self.moment()
        if self._revocations.revoked(claims):
            raise BadToken
        if refresh_token is not None:
            used = self._live(self._refresh, refresh_token)
            if (used.sub, used.sid) != (claims.sub, claims.sid):
                raise BadToken
            await self._revocations.revoke_token(used)
        return self._grant(claims.sub, claims.sid, since)

    async def end(self, claims: Claims) -> None:
        """End the session: none of its tokens counts any more."""
        await self._revocations.revoke_session(claims.sid, self._last_expiry())

    async def end_all(self, user: str) -> None:
        """End every session that `user` has now."""
        await self._revocations.revoke_user(user, self._last_expiry())

    def _grant(self, user: str, session: str, since: int) -> Granted:
        if self._access is None or self._refresh is None:
            raise RuntimeError("sessions begin once the key is loaded")
        token, claims = self._access.make(user, session, LIFETIME, since)
        refresh, _ = self._refresh.make(user, session, REFRESH_LIFETIME, since)
        return Granted(token, refresh, claims.exp)

    def _live(self, tokens: SignedTokens | None, token: str) -> Claims:
        if tokens is None:
            raise BadToken
        claims = tokens.check(token)
        if self._revocations.revoked(claims):
            raise BadToken
        return claims

    def _last_expiry(self) -> int:
        return int(self._clock.seconds()) + REFRESH_LIFETIME + 1
