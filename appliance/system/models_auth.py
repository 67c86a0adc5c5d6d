"""What log-in and the API tokens take and give."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

import msgspec

from appliance.identity.api_tokens import ApiToken

Token = Annotated[str, msgspec.Meta(max_length=4096)]
TokenName = Annotated[
    str,
    # The end of the text and not that of its last line, which `$` alone would be.
    msgspec.Meta(
        min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$(?!\n)", description="For people to know it by."
    ),
]


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


class TokenRequest(msgspec.Struct):
    """A token to be made. `expires_at` is RFC 3339 with a time zone and in the future; null or missing: never."""

    name: TokenName
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class TokenInfo(msgspec.Struct):
    """What is known of an API token; its text is not. Times are RFC 3339 in UTC."""

    id: str
    name: str
    username: str
    last_used_at: datetime | None
    expires_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, token: ApiToken) -> Self:
        """The token as it is shown."""
        return cls(
            id=token.id,
            name=token.name,
            username=token.username,
            last_used_at=_shown(token.last_used_at),
            expires_at=_shown(token.expires_at),
            created_at=datetime.fromtimestamp(token.created_at, UTC),
        )


class NewToken(msgspec.Struct):
    """`token` goes into the Authorization header; it is shown this once."""

    token: str
    token_info: TokenInfo


def _shown(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
