"""Who a user is at this moment: local or of the host, and what he may have."""

from collections.abc import Iterable

import msgspec

from appliance.identity.accounts import Accounts, administrator
from appliance.rpc.acl import EVERYTHING, Rights
from appliance.rpc.users_file import User, UsersFile
from appliance.rpc.watched import Watched

ROOT = "root"


class Identity(msgspec.Struct, frozen=True):
    """
    A user who may log in.

    `credential` changes with the password of a local user; it is empty for one of the host, whose password is nobody's
    business but PAM's.
    """

    name: str
    rights: Rights
    credential: str = ""

    @property
    def administers(self) -> bool:
        """Whether he may what root may."""
        return self.rights == EVERYTHING


class Identities:
    """Finds users by name: a local user with a password before a host's user of the same name."""

    def __init__(self, users: Watched[UsersFile], accounts: Accounts, admin_groups: Iterable[str]) -> None:
        self._users = users
        self._accounts = accounts
        self._admin_groups = frozenset(admin_groups)

    async def local(self, name: str) -> User | None:
        """The local user of that name."""
        found = (await self._users.get()).user.get(name)
        return found if found is not None and found.password_hash is not None else None

    async def find(self, name: str) -> Identity | None:
        """
        The user of that name; None where there is none, or the account is locked or has expired.

        Accounts of the host are at most 60 s old. Raises `AccountsUnavailable`.
        """
        file = await self._users.get()
        entry = file.user.get(name)
        if entry is not None and entry.password_hash is not None:
            return Identity(name, rights_of(file, name), entry.credential)
        account = await self._accounts.find(name)
        if account is None or account.locked or account.expired:
            return None
        administers = administrator(account, self._admin_groups)
        return Identity(account.name, rights_of(file, account.name, account.groups, administers=administers))

    def forget(self, name: str) -> None:
        """Ask the host anew: for whoever has just logged in, or was changed."""
        self._accounts.forget(name)


def rights_of(file: UsersFile, name: str, groups: Iterable[str] = (), *, administers: bool = False) -> Rights:
    """The rights of a user of either kind: his own, and those of his `groups` on the host."""
    if administers or name == ROOT:
        return EVERYTHING
    entry = file.user.get(name)
    rights = entry.rights if entry is not None else Rights()
    for group in sorted(groups):
        if group in file.group:
            rights += file.group[group].rights
    return rights
