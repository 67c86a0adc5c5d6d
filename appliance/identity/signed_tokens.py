"""Tokens that prove themselves: JSON Web Tokens (RFC 7519), signed by HMAC with SHA-256 under one key of this machine.

One key serves all surfaces; an audience for each surface and purpose keeps a token of one from opening another.
"""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Generic, TypeVar

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
    "require": ["aud", "jti", "exp"],
    "strict_aud": True,
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}
_KEY_LIMIT = 1024

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Moment = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


EXPIRED = "Token is expired"


class BadToken(Exception):
    """Not a token of ours, not for this purpose, or no longer valid; the text says which, for those who may know."""


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


C = TypeVar("C", bound=msgspec.Struct)


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


class TokenCodec(Generic[C]):
    """
    Signs and checks the tokens of one `audience`, which say what is in a struct `kind`.

    `life` tells from when until when (seconds) one counts. A token found good is remembered until it expires.
    """

    def __init__(
        self, clock: IReactorTime, key: bytes, audience: str, kind: type[C], life: Callable[[C], tuple[int, int]]
    ) -> None:
        self._clock = clock
        self._key = key
        self._audience = audience
        self._kind = kind
        self._life = life
        self._known: dict[str, C] = {}

    def sign(self, claims: C) -> str:
        """The token that says this."""
        return jwt.encode({**msgspec.to_builtins(claims), "aud": self._audience}, self._key, ALGORITHM)

    def check(self, token: str) -> C:
        """What `token` says. Raises `BadToken` with the reason; whether it was revoked is another question."""
        claims = self._known.get(token)
        known = claims is not None
        if claims is None:
            claims = self._parse(token)
        since, until = self._life(claims)
        # What comes from the future is refused: a clock that starts at 1970 must not open what has expired.
        if not since - SKEW <= self._clock.seconds() < until:
            self._known.pop(token, None)
            raise BadToken(EXPIRED)
        if not known:
            if len(self._known) >= MAX_CACHED:
                del self._known[next(iter(self._known))]
            self._known[token] = claims
        return claims

    def _parse(self, token: str) -> C:
        if len(token) > MAX_LENGTH or not token.isascii():
            raise BadToken("token is malformed")
        try:
            content = jwt.decode(token, self._key, [ALGORITHM], options=_OPTIONS, audience=self._audience)
            return msgspec.convert(content, self._kind)
        except (jwt.InvalidTokenError, msgspec.ValidationError, RecursionError, ValueError, TypeError) as error:
            raise BadToken(_why(error)) from None


class SignedTokens:
    """Makes and checks the tokens of one `audience` that say what is in `Claims`."""

    def __init__(self, clock: IReactorTime, key: bytes, audience: str) -> None:
        self._clock = clock
        self._codec = TokenCodec(clock, key, audience, Claims, lambda claims: (claims.iat, claims.exp))

    def make(self, subject: str, session: str, lifetime: int, since: int) -> tuple[str, Claims]:
        """A token for `lifetime` seconds, and what it says; a revocation after `since` (milliseconds) ends it."""
        now = int(self._clock.seconds())
        claims = Claims(subject, secrets.token_hex(16), session, since, now, now + lifetime)
        return self._codec.sign(claims), claims

    def check(self, token: str) -> Claims:
        """What `token` says. Raises `BadToken`, which tells nobody why; whether it was revoked is another question."""
        try:
            return self._codec.check(token)
        except BadToken:
            raise BadToken from None


def _why(error: Exception) -> str:
    """What is wrong, in the words that clients of JWT libraries know."""
    match error:
        case jwt.InvalidSignatureError():
            return "signature is invalid"
        case jwt.InvalidAlgorithmError():
            return "invalid signing algorithm"
        case jwt.InvalidAudienceError():
            return "token has invalid audience"
        case jwt.DecodeError() if "segments" in str(error):
            return "token contains an invalid number of segments"
        case jwt.MissingRequiredClaimError() | msgspec.ValidationError():
            return "token has invalid claims"
    return "token is malformed"
