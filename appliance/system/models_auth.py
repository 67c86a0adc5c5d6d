"""What log-in takes and gives."""

from typing import Annotated, Literal

import msgspec

Token = Annotated[str, msgspec.Meta(max_length=4096)]


class LoginRequest(msgspec.Struct):
    """A user of this machine and his password."""

    username: Annotated[str, msgspec.Meta(max_length=256)]
    password: Annotated[str, msgspec.Meta(max_length=4096)]
    auth_type: Literal["password"] = "password"


class RefreshRequest(msgspec.Struct):
    """The refresh token of the same log-in, which is used up; it may be left out."""

    refresh_token: Token | None = None


class LoggedInUser(msgspec.Struct):
    """Who has logged in; uid and gid are texts, as in GET users."""

    username: str
    uid: str
    gid: str
    home: str


class Login(msgspec.Struct):
    """`token` goes into the Authorization header until `expires_at`, in seconds since the epoch."""

    token: str
    expires_at: int
    refresh_token: str
    user: LoggedInUser


class Message(msgspec.Struct):
    """What was done."""

    message: str
