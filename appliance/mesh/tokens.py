"""The mesh's signed tokens (JWT, RFC 7519): of users, of devices, and of those who have shown once more who they are.

Controllers of one mesh share the key. Each kind has an audience of its own, so that none stands for another.
"""

import secrets
from typing import Annotated, Any, Literal, TypeVar

import jwt
import msgspec
from twisted.internet.interfaces import IReactorTime

from appliance.mesh.vault import Vault

ALGORITHM = "HS256"
USER_SECONDS = 24 * 3600
DEVICE_SECONDS = 365 * 24 * 3600
REAUTH_SECONDS = 300
LOGIN_SECONDS = 600
MAX_LENGTH = 8192
MAX_CACHED = 50_000
SKEW = 60
"""Seconds by which another controller's clock may be ahead of ours."""

_OPTIONS: jwt.types.Options = {
    "require": ["aud", "exp", "iat"],
    "strict_aud": True,
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}

Moment = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Text = Annotated[str, msgspec.Meta(max_length=1024)]
C = TypeVar("C", "UserClaims", "DeviceClaims", "ReauthClaims", "LoginClaims")


class BadToken(Exception):
    """Not a token of ours, not of this kind, or no longer valid."""


class UserClaims(msgspec.Struct, frozen=True, kw_only=True):
    """A user's; the roles are for clients to read, what counts is the user's row."""

    sub: Text
    email: Text | None = None
    name: Text | None = None
    role: Text = "user"
    system_role: Text = "user"
    jti: Text
    iat: Moment
    exp: Moment


class DeviceClaims(msgspec.Struct, frozen=True, kw_only=True):
    """A device's; `ver` must be its node's token version."""

    sub: Literal["device"] = "device"
    node_id: Annotated[int, msgspec.Meta(ge=1, le=(1 << 31) - 1)]
    ver: Annotated[int, msgspec.Meta(ge=1)]
    iat: Moment
    exp: Moment


class ReauthClaims(msgspec.Struct, frozen=True, kw_only=True):
    """Of a user who has logged in once more, for the challenge he was given."""

    sub: Text
    challenge: Text
    reauth: Literal[True] = True
    iat: Moment
    exp: Moment


class LoginClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What a browser keeps in a cookie while it is at the provider's to log in."""

    state: Text
    nonce: Text
    verifier: Text
    iat: Moment
    exp: Moment


class Tokens:
    """Makes and checks them. A token found good is remembered until it expires."""

    def __init__(self, clock: IReactorTime, vault: Vault) -> None:
        self._clock = clock
        self._vault = vault
        self._known: dict[tuple[type, str], Any] = {}

    def of_user(self, sub: str, *, email: str | None, name: str | None, system_role: str) -> str:
        """A user's token, for a day."""
        begin = int(self._clock.seconds())
        return self._encode(
            UserClaims(
                sub=sub,
                email=email,
                name=name,
                role=system_role,
                system_role=system_role,
                jti=secrets.token_hex(16),
                iat=begin,
                exp=begin + USER_SECONDS,
            )
        )

    def of_device(self, node_id: int, version: int) -> str:
        """A device's token, for a year."""
        begin = int(self._clock.seconds())
        return self._encode(DeviceClaims(node_id=node_id, ver=version, iat=begin, exp=begin + DEVICE_SECONDS))

    def of_reauth(self, sub: str, challenge: str) -> str:
        """The token that opens, for five minutes, what asks for another log-in."""
        begin = int(self._clock.seconds())
        return self._encode(ReauthClaims(sub=sub, challenge=challenge, iat=begin, exp=begin + REAUTH_SECONDS))

    def of_login(self, state: str, nonce: str, verifier: str) -> str:
        """The cookie of a log-in that has begun, for ten minutes."""
        begin = int(self._clock.seconds())
        return self._encode(
            LoginClaims(state=state, nonce=nonce, verifier=verifier, iat=begin, exp=begin + LOGIN_SECONDS)
        )

    def check(self, token: str, kind: type[C]) -> C:
        """What a token of that kind says. Raises `BadToken`; whether it was revoked is another question."""
        claims: C | None = self._known.get((kind, token))
        known = claims is not None
        if claims is None:
            claims = self._decode(token, kind)
        if not claims.iat - SKEW <= self._clock.seconds() < claims.exp:
            self._known.pop((kind, token), None)
            raise BadToken
        if not known:
            if len(self._known) >= MAX_CACHED:
                del self._known[next(iter(self._known))]
            self._known[(kind, token)] = claims
        return claims

    def _encode(self, claims: UserClaims | DeviceClaims | ReauthClaims | LoginClaims) -> str:
        content = {**msgspec.structs.asdict(claims), "aud": _AUDIENCES[type(claims)]}
        return jwt.encode(content, self._vault.token_key, ALGORITHM)

    def _decode(self, token: str, kind: type[C]) -> C:
        if len(token) > MAX_LENGTH or not token.isascii():
            raise BadToken
        try:
            content = jwt.decode(token, self._vault.token_key, [ALGORITHM], options=_OPTIONS, audience=_AUDIENCES[kind])
            return msgspec.convert(content, kind)
        except (jwt.InvalidTokenError, msgspec.ValidationError, RecursionError, ValueError, TypeError):
            raise BadToken from None


_AUDIENCES: dict[type, str] = {
    UserClaims: "appliance:mesh",
    DeviceClaims: "appliance:mesh:device",
    ReauthClaims: "appliance:mesh:reauth",
    LoginClaims: "appliance:mesh:login",
}
