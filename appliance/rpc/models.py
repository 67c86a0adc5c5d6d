"""Bodies and replies of the rpc surface."""

from typing import Annotated, Any

import msgspec

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Word = Annotated[str, msgspec.Meta(max_length=4096)]


class LoginRequest(msgspec.Struct):
    """Who logs in, as JSON or as a form."""

    username: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    password: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class LoginReply(msgspec.Struct):
    """A token, and when it ends (RFC 3339). With the second factor on it waits for a code (claim `2fa`)."""

    code: int
    expire: str
    token: str


class NoFields(msgspec.Struct):
    """Nothing that is looked at."""


class LogoutReply(msgspec.Struct):
    """Done."""

    code: int


class SudoRequest(msgspec.Struct):
    """The password once more, and a one-time code where there is one."""

    password: _Word
    otp: _Word = ""


class TokenData(msgspec.Struct):
    """A token in sudo mode, for five minutes."""

    token: str


class TwoFactorStatus(msgspec.Struct):
    """Whether log-ins take a one-time code."""

    status: bool


class QrCode(msgspec.Struct):
    """What an authenticator app needs: the seed in base32, or the address that a QR code shows."""

    key: str
    url: str


class OtpRequest(msgspec.Struct):
    """A one-time code, or a recovery code, for a token."""

    username: _Name
    token: _Word
    otp: _Word


class RecoveryCodes(msgspec.Struct):
    """Codes that each stand for a one-time code once; shown once only."""

    codes: list[str]


class CallRequest(msgspec.Struct):
    """Which method of which object, and its arguments: an object, null or nothing."""

    path: _Name
    method: _Name
    payload: msgspec.Raw = msgspec.Raw(b"null")


class CallDescription(msgspec.Struct):
    """`path` names the object, `payload` holds the arguments."""

    path: _Name
    method: _Name
    payload: dict[str, Any] | None = None


class JobData(msgspec.Struct):
    """
    A call that runs as a job: `status` is running, success, failed, cancelled or interrupted (its end is not known).

    `progress` is a percentage, null until the plugin tells one. `answer` is what the call itself would have answered,
    once it has ended.
    """

    id: str
    object: str
    method: str
    status: str
    progress: int | None
    created_at: int
    ended_at: int | None
    answer: Any = None
