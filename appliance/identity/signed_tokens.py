"""Signed tokens (JSON Web Tokens, RFC 7519): one key for the server, an audience for each surface and purpose."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import jwt
import msgspec
from twisted.internet.interfaces import IReactorTime

from appliance.files import FileTooLarge, NotARegularFile, read_limited, write_atomic
from appliance.secret import Secret

ALGORITHM: Final = "HS256"
KEY_BYTES: Final = 32
"""Least length of a key for HS256 (RFC 7518 section 3.2)."""

LENGTH_LIMIT: Final = 4096
"""Characters of a token; a longer one is refused unparsed."""

CACHE_LIMIT: Final = 10_000
SKEW: Final = 60
"""Seconds by which our clock may have been set back since a token was issued."""

_KEY_LIMIT = 4096

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class TokenRefused(Exception):
    """Not a token that counts here and now; nobody is told why."""

    def __init__(self) -> None:
        super().__init__("the token is not valid")


class KeyFileError(Exception):
    """The key file is of no use: which one, why, and what to do."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"the key file {path} {why}. Put back a copy of it, or delete it: then a new key is made at the next"
            " start, and everybody has to log in again"
        )


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a token says. Times are seconds since the epoch; `session` is the log-in it belongs to, if any."""

    audience: Text = msgspec.field(name="aud")
    subject: Text = msgspec.field(name="sub")
    id: Text = msgspec.field(name="jti")
    issued_at: Seconds = msgspec.field(name="iat")
    expires_at: Seconds = msgspec.field(name="exp")
    session: Text | None = msgspec.field(name="sid", default=None)


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token and what it says."""

    token: Secret
    claims: Claims


class SignedTokens:
    """
    Issues and verifies tokens with the key in the file `path`.

    What was verified once is remembered until it expires, so that verifying it again is one look in a dictionary.
    Whether it was revoked is for the caller to ask.
    """

    def __init__(self, clock: IReactorTime, path: Path) -> None:
        self._clock = clock
        self._path = path
        self._key: bytes | None = None
        self._verified: dict[tuple[str, str], Claims] = {}

    def load(self) -> None:
        """Read the key, or make it where there is none. Blocks; raises `KeyFileError`."""
        self._key = _read_key(self._path)

    def issue(self, audience: str, subject: str, lifetime: int, *, session: str | None = None) -> Issued:
        """A token about `subject` for `audience`, valid for `lifetime` seconds from now."""
        now = int(self._clock.seconds())
        claims = Claims(audience, subject, secrets.token_urlsafe(16), now, now + lifetime, session)
        return Issued(Secret(jwt.encode(msgspec.to_builtins(claims), self._loaded(), ALGORITHM)), claims)

    def verify(self, audience: str, token: str) -> Claims:
        """What `token` says, if we issued it for `audience` and it has not expired. Raises `TokenRefused`."""
        now = self._clock.seconds()
        cached = (audience, token)
        claims = self._verified.get(cached)
        if claims is None:
            claims = self._parse(audience, token)
            _check_times(claims, now)
            if len(self._verified) >= CACHE_LIMIT:
                del self._verified[next(iter(self._verified))]
            self._verified[cached] = claims
        elif not _is_timely(claims, now):
            del self._verified[cached]
            raise TokenRefused
        return claims

    def _parse(self, audience: str, token: str) -> Claims:
        if len(token) > LENGTH_LIMIT or not token.isascii():
            raise TokenRefused
        try:
            payload = jwt.decode(token, self._loaded(), algorithms=[ALGORITHM], audience=audience, options=_OPTIONS)
            return msgspec.convert(payload, Claims)
        except (jwt.InvalidTokenError, msgspec.ValidationError, RecursionError):
            raise TokenRefused from None

    def _loaded(self) -> bytes:
        if self._key is None:
            raise RuntimeError("tokens are issued and verified once the key is loaded")
        return self._key
