"""All users that this machine knows, from whatever source NSS has: files, systemd, LDAP."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
from twisted.internet.interfaces import IReactorTime

from appliance.files import FileTooLarge, NotARegularFile
from appliance.host.errors import Unavailable
from appliance.host.shared import Shared
from appliance.host.users.accounts import ETC, Account, Accounts, read_accounts
from appliance.process.run import ProcessRunner
from appliance.threads import Threads

FRESH_SECONDS = 60.0
_TIMEOUT = 20.0
_OUTPUT_LIMIT = 16 << 20
_NOTHING_FOUND = 2  # getent(1)
_WATCHED = ("passwd", "group", "shadow", "nsswitch.conf")

Signature = tuple[tuple[int, int, int] | None, ...]


class User(msgspec.Struct, frozen=True, kw_only=True):
    """
    A user as NSS knows it. `group` is the primary group, `groups` are the supplementary ones.

    `locked` says that no password opens the account or that it has expired; it is absent where that is not known (the
    account is not a local one) or not for everybody to know.
    """

    username: str
    uid: str
    gid: str
    comment: str
    home: str
    shell: str
    group: str
    groups: tuple[str, ...]
    locked: bool | msgspec.UnsetType = msgspec.UNSET


class UserListing:
    """
    Keeps the list until an account file changes, and 60 s at the most: other sources do not tell of changes.

    getent(1) is asked, not `pwd.getpwall`, which holds the interpreter's lock while a directory server answers.
    """

    def __init__(self, clock: IReactorTime, runner: ProcessRunner, threads: Threads, etc: Path = ETC) -> None:
        self._clock = clock
        self._runner = runner
        self._threads = threads
        self._etc = etc
        self._paths = [os.fspath(etc / name) for name in _WATCHED]
        self._reading = Shared(self._read)
        self._users: tuple[User, ...] = ()
        self._signature: Signature | None = None
        self._until = 0.0

    async def users(self) -> tuple[User, ...]:
        """All users in the order of NSS; the same object as long as nothing has changed. Raises `Unavailable`."""
        if self._clock.seconds() < self._until and self._signature == self._signature_now():
            return self._users
        return await self._reading.result()

    def forget(self) -> None:
        """Read anew at the next call."""
        self._signature = None

    async def _read(self) -> tuple[User, ...]:
        before = self._signature_now()
        passwd, group = await self._getent("passwd"), await self._getent("group")
        local = await read(self._threads, self._etc)
        users = tuple(_users(passwd, group, local))
        if users != self._users:
            self._users = users
        self._signature, self._until = before, self._clock.seconds() + FRESH_SECONDS
        return self._users

    async def _getent(self, database: str) -> str:
        finished = await self._runner.run(["getent", database], timeout=_TIMEOUT, output_limit=_OUTPUT_LIMIT)
        if finished.timed_out or finished.truncated or finished.exit_code not in (0, _NOTHING_FOUND):
            why = "too many entries" if finished.truncated else finished.describe()
            raise Unavailable(f"The users cannot be listed: getent {database}: {why}")
        return finished.stdout.decode("utf-8", "backslashreplace")

    def _signature_now(self) -> Signature:
        return tuple(map(_stamp, self._paths))


async def read(threads: Threads, etc: Path) -> Accounts:
    """The local accounts, read in a thread. Raises `Unavailable`."""
    try:
        return await threads.run(read_accounts, etc)
    except (OSError, FileTooLarge, NotARegularFile) as error:
        raise Unavailable(f"The account files cannot be read: {error}") from error


def user_of(account: Account) -> User:
    """A local account in the form of the list."""
    return User(
        username=account.name,
        uid=str(account.uid),
        gid=str(account.gid),
        comment=account.comment,
        home=account.home,
        shell=account.shell,
        group=account.group,
        groups=tuple(sorted(account.groups)),
        locked=account.is_locked,
    )


def _users(passwd: str, group: str, local: Accounts) -> Iterator[User]:
    names: dict[str, str] = {}
    memberships: dict[str, set[str]] = {}
    for line in group.splitlines():
        name, _, gid, members = [*line.split(":"), "", "", ""][:4]
        names.setdefault(gid, name)
        for member in members.split(","):
            memberships.setdefault(member, set()).add(name)
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) == 7:
            name, _, uid, gid, comment, home, shell = fields
            account = local.by_name.get(name)
            yield User(
                username=name,
                uid=uid,
                gid=gid,
                comment=comment,
                home=home,
                shell=shell,
                group=names.get(gid, gid),
                groups=tuple(sorted(memberships.get(name, ()))),
                locked=msgspec.UNSET if account is None else account.is_locked,
            )


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
