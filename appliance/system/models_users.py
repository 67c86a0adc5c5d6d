"""What the users' endpoints take and give."""

from typing import Annotated

import msgspec

from appliance.host.users.listing import User
from appliance.host.users.rules import PASSWORD_LIMIT, PATH_LIMIT, USERNAME

Username = Annotated[str, msgspec.Meta(pattern=USERNAME, description="Name to log in with.")]
PasswordText = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=PASSWORD_LIMIT,
        description=f"At most {PASSWORD_LIMIT} bytes, no control characters.",
        extra_json_schema={"format": "password"},
    ),
]
Groups = Annotated[
    str, msgspec.Meta(max_length=4096, description="Supplementary groups, comma-separated; empty for none.")
]
PathText = Annotated[str, msgspec.Meta(max_length=PATH_LIMIT)]


class UserBody(msgspec.Struct, kw_only=True):
    """A user to be made; an empty or missing `shell` or `home` leaves it to the system's defaults."""

    username: Username
    password: PasswordText
    groups: Groups | None = None
    shell: PathText | None = None
    home: PathText | None = None


class UserChangeBody(msgspec.Struct, kw_only=True):
    """What is to change; what is missing or null stays as it is."""

    groups: Groups | None = None
    shell: PathText | None = None
    password: PasswordText | None = None
    locked: bool | None = None


class PasswordBody(msgspec.Struct):
    """A new password."""

    password: PasswordText


class ChangeQuery(msgspec.Struct):
    """`system=true`: an account with a uid below UID_MIN is meant."""

    system: bool = False


class DeleteQuery(msgspec.Struct):
    """`system=true` as for changes; `remove_home=true` also removes the home directory and the mail spool."""

    system: bool = False
    remove_home: bool = False


class UserList(msgspec.Struct):
    """All users."""

    users: list[User]


class UserAnswer(msgspec.Struct):
    """What was done, and the user as it is now."""

    message: str
    user: User


class Message(msgspec.Struct):
    """What was done."""

    message: str
