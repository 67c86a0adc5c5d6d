"""Making, changing and removing local users: each change whole or not at all, one at a time."""

import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import msgspec
from twisted.internet.defer import DeferredLock, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from appliance.host.errors import Conflict, HostError, Invalid, Unavailable, Unknown
from appliance.host.users import rules
from appliance.host.users.accounts import ETC, Account, Accounts, Password
from appliance.host.users.listing import User, UserListing, read, user_of
from appliance.host.users.rules import Harm
from appliance.host.users.tools import AccountTools
from appliance.process.errors import ProcessError
from appliance.process.run import ProcessRunner
from appliance.secret import Secret
from appliance.threads import Threads

_TURN_SECONDS = 30.0
_WAITING_LIMIT = 16
_ROUNDS = 3  # of usermod until the files say what was wanted: `-U` takes one "!" away, some systems put two
_LOCKED_EXPIRY = 1  # usermod(8), --lock: an expiry date of 1 closes the account to keys and tokens as well


class Changed(Protocol):
    """Is told of a change when it has been made."""

    def __call__(self, name: str, revoke: bool) -> Awaitable[None]:
        """Forget what is known of user `name`; with `revoke` end the sessions and tokens issued so far.

        Raises `Unavailable` where that will not last.
        """


class NewUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user to be made. `groups` are supplementary ones, comma-separated; None leaves a choice to the system."""

    username: str
    password: Secret
    groups: str = ""
    shell: str | None = None
    home: str | None = None


class UserChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to change; None leaves it as it is. `groups`, comma-separated, replaces the supplementary groups."""

    groups: str | None = None
    shell: str | None = None
    password: Secret | None = None
    locked: bool | None = None


class Users:
    """
    Changes local users. `changed` is told of each change, `admin_groups` are those whose members are administrators.

    Raises `Invalid`, `Unknown`, `Conflict`, `Unavailable` or `ProcessError`, and then nothing has changed, unless the
    text says that it has: where `changed` could not do its part.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        runner: ProcessRunner,
        threads: Threads,
        listing: UserListing,
        *,
        admin_groups: frozenset[str],
        changed: Changed,
        etc: Path = ETC,
    ) -> None:
        self._clock = clock
        self._threads = threads
        self._tools = AccountTools(runner)
        self._listing = listing
        self._admin_groups = admin_groups
        self._changed = changed
        self._etc = etc
        self._lock = DeferredLock()

    async def create(self, new: NewUser) -> tuple[User, bool]:
        """Make a user with a home directory. Returns it, and whether its home directory existed already."""
        rules.check_username(new.username)
        rules.check_password(new.password)
        async with self._turn():
            accounts = await self._accounts()
            groups = rules.parse_groups(new.groups, accounts)
            if new.shell is not None:
                rules.check_shell(new.shell, accounts)
            if new.username in accounts.by_name:
                raise Conflict(f"User {new.username!r} exists already")
            if new.home is not None:
                await self._threads.run(_check_home, new.home)
            home = new.home or os.path.join(await self._tools.base_of_homes(), new.username)
            existed = await self._threads.run(os.path.lexists, home)
            try:
                await self._tools.add(new.username, home=home, groups=groups, shell=new.shell)
                await self._tools.set_password(new.username, new.password)
                made = (await self._accounts()).find(new.username)
                # A user of this name may have been here before, and what was issued to that one must not open this one.
                await self._tell(new.username, revoke=True)
            except Conflict:
                raise  # somebody else was quicker; what is there now is not ours to remove
            except Exception:
                await self._take_back(new.username, with_home=not existed)
                raise
        return user_of(made), existed

    async def change(self, name: str, change: UserChange, *, caller: str, system: bool = False) -> User:
        """Change user `name` on behalf of user `caller`; `system` says that an account of the system is meant."""
        if change == UserChange():
            raise Invalid("body", "nothing to change: give groups, shell, password or locked")
        if change.locked and change.password is not None:
            raise Invalid("locked", "cannot be set together with a password")
        if change.password is not None:
            rules.check_password(change.password)
        async with self._turn():
            accounts = await self._accounts()
            before = await self._find(name, accounts)
            wanted = _wanted(before, change, accounts)
            harms = self._harms(before, wanted, change)
            for harm in harms:
                rules.protect(before, harm, accounts, self._admin_groups, caller=caller, system=system)
            try:
                await self._modify(before, wanted)
                if change.password is not None:
                    await self._tools.set_password(name, change.password)
            except Exception:
                await self._restore(before)
                raise
            after = (await self._accounts()).find(name)
            await self._tell(name, revoke=bool(harms) or change.password is not None, done="changed")
        return user_of(after)

    async def delete(self, name: str, *, caller: str, system: bool = False, with_home: bool = False) -> bool:
        """Remove user `name` on behalf of `caller`. False where the home directory had to be left."""
        async with self._turn():
            accounts = await self._accounts()
            account = await self._find(name, accounts)
            rules.protect(account, Harm.DELETED, accounts, self._admin_groups, caller=caller, system=system)
            complete = await self._tools.remove(name, with_home=with_home)
            await self._tell(name, revoke=True, done="deleted")
        return complete

    async def reset_password(self, name: str, password: Secret) -> None:
        """Give user `name` a password. An account that `change` has locked stays locked."""
        await self.change(name, UserChange(password=password), caller="")

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One change at a time: what the rules have looked at must still hold when the tools run."""
        if len(self._lock.waiting) >= _WAITING_LIMIT:
            raise Unavailable("Too many changes of users are waiting; try again")
        try:
            await self._lock.acquire().addTimeout(_TURN_SECONDS, self._clock)
        except TimeoutError:
            raise Unavailable("Another change of users takes long; try again") from None
        try:
            yield
        finally:
            self._lock.release()

    async def _accounts(self) -> Accounts:
        return await read(self._threads, self._etc)

    async def _find(self, name: str, accounts: Accounts) -> Account:
        if name not in accounts.by_name and any(user.username == name for user in await self._listing.users()):
            raise Conflict(f"{name} is not an account of this machine itself; change it where it is kept")
        return accounts.find(name)

    def _harms(self, before: Account, wanted: Account, change: UserChange) -> list[Harm]:
        harms = []
        if change.locked:
            harms.append(Harm.LOCKED)
        if before.is_member(self._admin_groups) and not wanted.is_member(self._admin_groups):
            harms.append(Harm.DEMOTED)
        return harms

    async def _modify(self, current: Account, wanted: Account) -> None:
        for _ in range(_ROUNDS):
            options = _differences(current, wanted)
            if not options:
                return
            await self._tools.modify(wanted.name, options)
            current = (await self._accounts()).find(wanted.name)
        if _differences(current, wanted):
            raise Unavailable(f"usermod did not do what was asked for {wanted.name}")

    async def _restore(self, before: Account) -> None:
        """Undo what a failed change may have done; what cannot be undone is for the administrator to see."""
        try:
            await self._modify((await self._accounts()).find(before.name), before)
        except (HostError, ProcessError) as error:
            self._log.error("A failed change of user {name} is not undone: {error}", name=before.name, error=error)

    async def _take_back(self, name: str, *, with_home: bool) -> None:
        try:
            if name in (await self._accounts()).by_name:
                await self._tools.remove(name, with_home=with_home)
        except Unknown:
            return
        except (HostError, ProcessError) as error:
            self._log.error("User {name}, made by half, is not removed: {error}", name=name, error=error)

    async def _tell(self, name: str, *, revoke: bool, done: str = "") -> None:
        """Tell of a change that is `done`, or that will be taken back where nobody can be told."""
        self._listing.forget()
        try:
            await self._changed(name, revoke)
        except Unavailable as error:
            raise Unavailable(f"User {name} is {done}, but {error}" if done else str(error)) from error


def _wanted(before: Account, change: UserChange, accounts: Accounts) -> Account:
    """What the account shall be, its password aside. Raises `Invalid` or `Conflict`."""
    wanted = before
    if change.groups is not None:
        wanted = msgspec.structs.replace(wanted, groups=rules.parse_groups(change.groups, accounts))
    if change.shell is not None:
        rules.check_shell(change.shell, accounts)
        wanted = msgspec.structs.replace(wanted, shell=change.shell)
    if change.locked:
        wanted = msgspec.structs.replace(wanted, password=Password.LOCKED, expires=_LOCKED_EXPIRY)
    elif change.locked is False:
        if before.expired:
            wanted = msgspec.structs.replace(wanted, expires=None)
        if change.password is None:
            if before.password is Password.NONE:
                raise Conflict(f"{before.name} has no password to unlock; give it one")
            if before.password is Password.LOCKED:
                wanted = msgspec.structs.replace(wanted, password=Password.USABLE)
    return wanted


def _differences(current: Account, wanted: Account) -> list[str]:
    """The options of usermod(8) that lead from one state to the other."""
    options: list[str] = []
    if current.groups != wanted.groups:
        options += ["-G", ",".join(sorted(wanted.groups))]
    if current.shell != wanted.shell:
        options += ["-s", wanted.shell]
    if wanted.password is Password.LOCKED and current.password in (Password.USABLE, Password.EMPTY):
        options.append("-L")
    elif wanted.password is Password.USABLE and current.password is Password.LOCKED:
        options.append("-U")
    if current.expires != wanted.expires:
        options += ["-e", "" if wanted.expires is None else str(wanted.expires)]
    return options


def _check_home(home: str) -> None:
    """Raise `Invalid` where useradd could not make this home directory, or would make more than that."""
    rules.check_home(home)
    if not os.path.isdir(os.path.dirname(home)):
        raise Invalid("home", f"{os.path.dirname(home)} is not a folder")
    if os.path.lexists(home) and not os.path.isdir(home):
        raise Invalid("home", f"{home} exists and is not a folder")
