"""What a token of the rpc surface says."""

from pathlib import Path

import msgspec
from twisted.internet.interfaces import IReactorTime

from appliance.identity.signed_tokens import BadToken, Moment, Text, TokenCodec, load_key

AUDIENCE = "appliance:rpc"
LIFETIME = 24 * 3600
TOTAL_LIFETIME = 7 * 24 * 3600
"""Seconds after the log-in beyond which no refresh reaches."""

SUDO_SECONDS = 300


class Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Whose token it is (`id`), its own id, since and until when it counts (seconds).

    `orig_iat` is the time of the log-in and stays over refreshes. `sudo` is the time at which the password was given
    once more. `role` and `actions` are for clients to show; what somebody may do is looked up at each request.
    """

    id: Text
    jti: Text
    orig_iat: Moment
    exp: Moment
    two_factor: bool = msgspec.field(name="2fa")
    role: str
    actions: tuple[str, ...]
    sudo: Moment | None = None


class Tokens:
    """Signs and reads tokens. `prepare` comes before all else."""

    def __init__(self, clock: IReactorTime, key_file: Path) -> None:
        self._clock = clock
        self._key_file = key_file
        self._codec: TokenCodec[Claims] | None = None

    def prepare(self) -> None:
        """Read the key, or make it. Blocking; raises `KeyUnusable`."""
        key = load_key(self._key_file)
        self._codec = TokenCodec(self._clock, key, AUDIENCE, Claims, lambda claims: (claims.orig_iat, claims.exp))

    def sign(self, claims: Claims) -> str:
        """The token that says this."""
        if self._codec is None:
            raise RuntimeError("tokens are signed once the key is loaded")
        return self._codec.sign(claims)

    def read(self, token: str) -> Claims:
        """What a token says that is signed by us and has not expired. Raises `BadToken`."""
        if self._codec is None:
            raise BadToken("token is malformed")
        return self._codec.check(token)
