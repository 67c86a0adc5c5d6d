"""What may be asked of an account, and which accounts are protected (system contract, row "users")."""

import re
import unicodedata
from enum import Enum
from pathlib import PurePosixPath

from appliance.host.errors import Conflict, Invalid
from appliance.host.users.accounts import Account, Accounts
from appliance.secret import Secret

USERNAME = r"^[a-z_][a-z0-9_-]{0,31}$"
PASSWORD_LIMIT = 510  # bytes: pam_unix takes no more
PATH_LIMIT = 256
_GROUP_LIMIT = 64


class Harm(Enum):
    """What is done to an account that could lock somebody out; the value completes "… cannot be"."""

    DELETED = "deleted"
    LOCKED = "locked"
    DEMOTED = "taken out of the administrators"


def check_username(name: str) -> None:
    """Raise `Invalid` unless `name` may be given to a new user."""
    if not re.fullmatch(USERNAME, name):
        raise Invalid(
            "username", "must begin with a-z or _, go on with a-z, 0-9, _ or -, and have 32 characters at the most"
        )


def check_password(password: Secret) -> None:
    """Raise `Invalid` for a password that is empty, too long or has control characters; the text does not show it."""
    text = password.reveal()
    if not text:
        raise Invalid("password", "is required")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise Invalid("password", "must not have control characters")
    if len(text.encode()) > PASSWORD_LIMIT:
        raise Invalid("password", f"must have {PASSWORD_LIMIT} bytes at the most")


def parse_groups(text: str, accounts: Accounts) -> frozenset[str]:
    """The groups of a comma-separated list. Raises `Invalid` where one does not exist on this machine."""
    names = frozenset(filter(None, map(str.strip, text.split(","))))
    if len(names) > _GROUP_LIMIT:
        raise Invalid("groups", f"more than {_GROUP_LIMIT}")
    for name in sorted(names):
        if name not in accounts.groups:
            raise Invalid("groups", f"there is no group {name!r} on this machine")
    return names


def check_shell(shell: str, accounts: Accounts) -> None:
    """Raise `Invalid` for a shell that shells(5) does not allow."""
    if shell not in accounts.shells:
        raise Invalid("shell", f"{shell!r} is not one of those in /etc/shells")


def check_home(home: str) -> None:
    """Raise `Invalid` unless `home` can stand in passwd(5) as the path of a home directory."""
    path = PurePosixPath(home)
    if (
        not path.is_absolute()
        or home.startswith("//")
        or str(path) != home
        or ".." in path.parts
        or len(path.parts) < 2
    ):
        raise Invalid("home", "must be an absolute path without . or .. and without a slash at its end")
    if ":" in home or not home.isprintable() or len(home) > PATH_LIMIT:
        raise Invalid("home", f"must have {PATH_LIMIT} printable characters at the most and no colon")


def protect(
    account: Account, harm: Harm, accounts: Accounts, admin_groups: frozenset[str], *, caller: str, system: bool
) -> None:
    """
    Raise `Conflict` where doing `harm` to `account` could lock everybody out.

    Protected are uid 0, the `caller` himself, accounts of the system unless `system` says that they are meant, and
    the last administrator: the only local account that is one and whose password opens it. An administrator that
    cannot log in anyway may go, and one that is kept elsewhere (LDAP) does not count, for it may be out of reach.
    """
    if account.uid == 0:
        raise Conflict(f"{account.name} has uid 0 and cannot be {harm.value}")
    if account.name == caller:
        raise Conflict(f"{account.name} is your own account and cannot be {harm.value} by you")
    if accounts.is_system(account) and not system:
        raise Conflict(f"{account.name} belongs to the system and cannot be {harm.value} without ?system=true")
    if not (account.may_log_in and account.is_administrator(admin_groups)):
        return
    others = (each for each in accounts.by_name.values() if each.name != account.name)
    if not any(each.may_log_in and each.is_administrator(admin_groups) for each in others):
        raise Conflict(f"{account.name} is the last administrator who can log in and cannot be {harm.value}")
