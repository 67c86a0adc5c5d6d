"""The account files of this machine, read at one moment: passwd(5), group(5), shadow(5), shells(5), login.defs(5).

What decides whether a change is allowed is read here and not through NSS: these files are what the tools change.
"""

import re
import time
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path

import msgspec

from appliance.files import read_limited
from appliance.host.errors import Unknown

ETC = Path("/etc")
SIZE_LIMIT = 16 << 20

NOBODY = 65534  # the kernel's overflow uid (Documentation/admin-guide/sysctl/fs.rst); it belongs to no person
_DEFAULT_UID_MIN = 1000
_DAY = 86400
_SHELLS_WITHOUT_FILE = frozenset(("/bin/sh", "/bin/csh"))
_HASH = re.compile(r"[$_].+|.{13,}")  # crypt(5): the schemes, and the old one without a sign


class Password(Enum):
    """What the password field of shadow(5) says."""

    USABLE = "usable"
    LOCKED = "locked"  # a hash behind a "!": unlocking makes it usable again
    NONE = "none"  # no password opens this account
    EMPTY = "empty"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A local account. `groups` are the supplementary ones, `group` is the primary.

    `expires` is the day, counted from 1970-01-01, from which the account is closed; `expired` whether it has come.
    `outdated` says that the password must be changed before the account can be used.
    """

    name: str
    uid: int
    gid: int
    comment: str
    home: str
    shell: str
    group: str
    groups: frozenset[str]
    password: Password
    expires: int | None
    expired: bool
    outdated: bool

    @property
    def is_locked(self) -> bool:
        """Whether no password opens it (what `passwd -S` shows as L), or it has expired."""
        return self.expired or self.password in (Password.LOCKED, Password.NONE)

    @property
    def may_log_in(self) -> bool:
        """Whether its password opens it now. An empty one does not count: log-in refuses it."""
        return self.password is Password.USABLE and not self.expired and not self.outdated

    def is_administrator(self, admin_groups: frozenset[str]) -> bool:
        """Whether it has uid 0 or is a member of one of `admin_groups`."""
        return self.uid == 0 or self.is_member(admin_groups)

    def is_member(self, groups: frozenset[str]) -> bool:
        """Whether one of `groups` is its primary or a supplementary group."""
        return self.group in groups or not groups.isdisjoint(self.groups)


class Accounts(msgspec.Struct, frozen=True):
    """All local accounts; the names of the local groups; the allowed shells; the uid from which people begin."""

    by_name: Mapping[str, Account]
    groups: frozenset[str]
    shells: frozenset[str]
    uid_min: int

    def find(self, name: str) -> Account:
        """The account called `name`. Raises `Unknown`."""
        try:
            return self.by_name[name]
        except KeyError:
            raise Unknown(f"No user {name!r}") from None

    def is_system(self, account: Account) -> bool:
        """Whether it belongs to the system and not to a person."""
        return account.uid < self.uid_min or account.uid == NOBODY


def read_accounts(etc: Path = ETC, today: int | None = None) -> Accounts:
    """
    Read the account files in `etc`; `today` is the day counted from 1970-01-01.

    What this process may not read of shadow(5) counts as no password. Blocking; raises OSError or `FileTooLarge`.
    """
    day = int(time.time()) // _DAY if today is None else today
    names: dict[int, str] = {}
    groups: set[str] = set()
    memberships: dict[str, set[str]] = {}
    for name, _, gid, members in _entries(etc / "group", 4):
        if gid.isdecimal():
            groups.add(name)
            names.setdefault(int(gid), name)
            for member in filter(None, members.split(",")):
                memberships.setdefault(member, set()).add(name)
    shadow = {fields[0]: fields for fields in _shadow(etc)}
    found: dict[str, Account] = {}
    for name, hashed, uid, gid, comment, home, shell in _entries(etc / "passwd", 7):
        if uid.isdecimal() and gid.isdecimal() and name not in found:
            password, expires, outdated = _state(shadow.get(name, [name, hashed, *[""] * 7]), day)
            found[name] = Account(
                name=name,
                uid=int(uid),
                gid=int(gid),
                comment=comment,
                home=home,
                shell=shell or "/bin/sh",  # passwd(5)
                group=names.get(int(gid), gid),
                groups=frozenset(memberships.get(name, ())),
                password=password,
                expires=expires,
                expired=expires is not None and expires <= day,
                outdated=outdated,
            )
    return Accounts(found, frozenset(groups), read_shells(etc / "shells"), _uid_min(etc / "login.defs"))


def read_shells(path: Path) -> frozenset[str]:
    """The log-in shells in shells(5); where there is no such file those of getusershell(3). Raises as above."""
    try:
        lines = _lines(path)
    except FileNotFoundError:
        return _SHELLS_WITHOUT_FILE
    return frozenset(line for line in (line.partition("#")[0].strip() for line in lines) if line.startswith("/"))


def _state(fields: list[str], today: int) -> tuple[Password, int | None, bool]:
    """The password, the day of expiry and whether the password is out of date, judged as pam_unix does."""
    _, hashed, changed, _, maximum, _, _, expires, _ = fields
    aged = changed.isdecimal() and maximum.isdecimal() and int(changed) + int(maximum) < today
    return _password(hashed), int(expires) if expires.isdecimal() else None, changed == "0" or aged


def _password(field: str) -> Password:
    if not field:
        return Password.EMPTY
    if field.startswith("!"):
        return Password.LOCKED if _HASH.fullmatch(field.lstrip("!")) else Password.NONE
    return Password.USABLE if _HASH.fullmatch(field) and not field.startswith("*") else Password.NONE


def _shadow(etc: Path) -> Iterator[list[str]]:
    try:
        yield from _entries(etc / "shadow", 9)
    except (PermissionError, FileNotFoundError):
        return  # we are not root, or passwords are kept in passwd(5) itself


def _uid_min(path: Path) -> int:
    for line in _optional_lines(path):
        key, _, value = line.strip().partition("UID_MIN")
        if not key and value[:1].isspace() and value.strip().isdecimal():
            return int(value)
    return _DEFAULT_UID_MIN


def _entries(path: Path, width: int) -> Iterator[list[str]]:
    """The lines of a colon-separated file that have as many fields as they ought to."""
    for line in _lines(path):
        fields = line.split(":")
        if len(fields) == width and fields[0] and fields[0][0] not in "+-#":
            yield fields


def _optional_lines(path: Path) -> list[str]:
    try:
        return _lines(path)
    except FileNotFoundError:
        return []


def _lines(path: Path) -> list[str]:
    # These files have no declared encoding; what is not UTF-8 still has to be shown and compared.
    return read_limited(path, SIZE_LIMIT).decode("utf-8", "backslashreplace").split("\n")
