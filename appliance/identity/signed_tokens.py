"""Tokens that prove themselves: JSON Web Tokens (RFC 7519), signed by HMAC with SHA-256 under one key of this machine.

One key serves all surfaces; an audience for each surface and purpose keeps a token of one from opening another.
"""

import secrets
from pathlib import Path
from typing import Annotated

import jwt
import msgspec
from twisted.internet.interfaces import IReactorTime

from appliance.files import FileTooLarge, NotARegularFile, read_limited, write_atomic

ALGORITHM = "HS256"
KEY_BYTES = 32
MAX_LENGTH = 4096
MAX_CACHED = 10_000
SKEW = 60
"""Seconds by which our clock may have been set back since a token was made."""

# The times are compared with the clock we are given, not with PyJWT's.
_OPTIONS: jwt.types.Options = {
    "require": ["sub", "aud", "jti", "iat", "exp"],
    "strict_aud": True,
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}
_KEY_LIMIT = 1024

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Moment = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class BadToken(Exception):
    """Not a token of ours, not for this purpose, or no longer valid."""


class KeyUnusable(Exception):
    """The key file cannot be read or does not hold a key; the text names the file and what to do."""


class Claims(msgspec.Struct, frozen=True):
    """
    What a token says: whose it is (`sub`), its id and session, and until when it counts (`exp`, seconds).

    `ims` is from when on (milliseconds): a revocation after that moment ends it.
    """

    sub: Text
    jti: Text
    sid: Text
    ims: Moment
    iat: Moment
    exp: Moment


def load_key(path: Path) -> bytes:
    """The key in `path`, for nobody else to read; made where there is none. Blocking; raises `KeyUnusable`."""
    try:
        key = read_limited(path, _KEY_LIMIT)
        path.chmod(0o600)
    except FileNotFoundError:
        return _make_key(path)
    except OSError as error:
        raise KeyUnusable(
            f"{path} cannot be read ({error.strerror}): make it readable for the service, or move it away, and a new"
            " key is made (all log-ins end)"
        ) from error
    except (FileTooLarge, NotARegularFile) as error:
        raise KeyUnusable(f"{error}: move it away, and a new key is made (all log-ins end)") from error
    if len(key) < KEY_BYTES:
        raise KeyUnusable(
            f"{path} holds {len(key)} bytes and no key of {KEY_BYTES}: move it away, and a new one is made"
            " (all log-ins end)"
        )
    return key


def _make_key(path: Path) -> bytes:
    key = secrets.token_bytes(KEY_BYTES)
    try:
        write_atomic(path, key, mode=0o600)
    except OSError as error:
        raise KeyUnusable(f"{path} cannot be made ({error.strerror}): make its folder writable") from error
    return key


class SignedTokens:
    """Makes and checks the tokens of one `audience`. A token found good is remembered until it expires."""

    def __init__(self, clock: IReactorTime, key: bytes, audience: str) -> None:
        self._clock = clock
        self._key = key
        self._audience = audience
        self._known: dict[str, Claims] = {}

    def make(self, subject: str, session: str, lifetime: int, since: int) -> tuple[str, Claims]:
        """A token for `lifetime` seconds, and what it says; a revocation after `since` (milliseconds) ends it."""
        now = int(self._clock.seconds())
        claims = Claims(subject, secrets.token_hex(16), session, since, now, now + lifetime)
        content = {**msgspec.structs.asdict(claims), "aud": self._audience}
        return jwt.encode(content, self._key, ALGORITHM), claims

    def check(self, token: str) -> Claims:
        """What `token` says. Raises `BadToken`; whether it was revoked is another question."""
        claims = self._known.get(token)
        known = claims is not None
        if claims is None:
            claims = self._parse(token)
        # What comes from the future is refused: a clock that starts at 1970 must not open what has expired.
        if not claims.iat - SKEW <= self._clock.seconds() < claims.exp:
            self._known.pop(token, None)
            raise BadToken
        if not known:
            if len(self._known) >= MAX_CACHED:
                del self._known[next(iter(self._known))]
            self._known[token] = claims
        return claims

    def _parse(self, token: str) -> Claims:
        if len(token) > MAX_LENGTH or not token.isascii():
            raise BadToken
        try:
            content = jwt.decode(token, self._key, [ALGORITHM], options=_OPTIONS, audience=self._audience)
            return msgspec.convert(content, Claims)
        except (jwt.InvalidTokenError, msgspec.ValidationError, RecursionError, ValueError, TypeError):
            raise BadToken from None
