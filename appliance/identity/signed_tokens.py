"""Tokens that prove themselves: JSON Web Tokens (RFC 7519), signed by HMAC with SHA-256 under one key of this machine.

One key serves all surfaces; an audience for each surface and purpose keeps a token of one from opening another.
"""

import secrets
from pathlib import Path

import jwt
import msgspec
from twisted.internet.interfaces import IReactorTime

from appliance.files import FileTooLarge, NotARegularFile, read_limited, write_atomic

ALGORITHM = "HS256"
KEY_BYTES = 32
MAX_LENGTH = 4096
MAX_CACHED = 10_000

_OPTIONS = {"require": ["sub", "aud", "jti", "iat", "exp"], "verify_exp": False, "verify_iat": False}


class BadToken(Exception):
    """Not a token of ours, not for this purpose, or no longer valid."""


class KeyUnusable(Exception):
    """The key file cannot be read or does not hold a key; the text names the file and what to do."""


class Claims(msgspec.Struct, frozen=True):
    """What a token says: whose it is (`sub`), its id, its session, when it was made (in ms), its end (in s)."""

    sub: str
    jti: str
    sid: str
    ims: int
    exp: int


def load_key(path: Path) -> bytes:
    """The key in `path`, made where there is none. Blocking; raises `KeyUnusable` or OSError."""
    try:
        key = read_limited(path, 1024)
    except FileNotFoundError:
        key = secrets.token_bytes(KEY_BYTES)
        write_atomic(path, key, mode=0o600)
    except (FileTooLarge, NotARegularFile) as error:
        raise KeyUnusable(f"{error}: move it away, and a new key is made (all log-ins end)") from error
    if len(key) < KEY_BYTES:
        raise KeyUnusable(
            f"{path} holds {len(key)} bytes and no key of {KEY_BYTES}: move it away, and a new one is made"
            " (all log-ins end)"
        )
    return key


class SignedTokens:
    """Makes and checks the tokens of one `audience`. A token found good is remembered until it expires."""

    def __init__(self, clock: IReactorTime, key: bytes, audience: str) -> None:
        self._clock = clock
        self._key = key
        self._audience = audience
        self._known: dict[str, Claims] = {}

    def make(self, subject: str, session: str, lifetime: int) -> tuple[str, Claims]:
        """A token for `lifetime` seconds, and what it says."""
        now = self._clock.seconds()
        claims = Claims(subject, secrets.token_hex(16), session, int(now * 1000), int(now) + lifetime)
        content = {**msgspec.structs.asdict(claims), "aud": self._audience, "iat": int(now)}
        return jwt.encode(content, self._key, ALGORITHM), claims

    def check(self, token: str) -> Claims:
        """What `token` says. Raises `BadToken`; whether it was revoked is another question."""
        claims = self._known.get(token)
        if claims is None:
            claims = self._parse(token)
            if len(self._known) >= MAX_CACHED:
                del self._known[next(iter(self._known))]
            self._known[token] = claims
        if claims.exp <= self._clock.seconds():
            self._known.pop(token, None)
            raise BadToken
        return claims

    def _parse(self, token: str) -> Claims:
        if len(token) > MAX_LENGTH:
            raise BadToken
        try:
            content = jwt.decode(token, self._key, [ALGORITHM], options=_OPTIONS, audience=self._audience)  # type: ignore[arg-type]  # PyJWT's own option names
            return msgspec.convert(content, Claims)
        except (jwt.InvalidTokenError, msgspec.ValidationError, ValueError, TypeError):
            raise BadToken from None
