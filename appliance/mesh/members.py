"""Members of a network: who is in it, as what, and with which capabilities."""

from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update
from twisted.internet.interfaces import IReactorTime

from appliance.database.store import Store
from appliance.mesh.access import Rights, rights
from appliance.mesh.actor import Actor
from appliance.mesh.audit import Event, record
from appliance.mesh.errors import Denied, Missing, Unacceptable
from appliance.mesh.moments import now
from appliance.mesh.store.tables import permissions, users

OWNER, MEMBER = "owner", "member"
USER_MISSING = "User not found"
ALREADY_MEMBER = "User is already a member of the network"
LAST_OWNER = "The network must keep an owner"


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a member may do; an owner may do all of it anyway."""

    role: str = MEMBER
    can_manage_nodes: bool = False
    can_invite_users: bool = False
    can_manage_firewall: bool = False


class MemberChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed; None leaves it."""

    role: str | None = None
    can_manage_nodes: bool | None = None
    can_invite_users: bool | None = None
    can_manage_firewall: bool | None = None


class Member(msgspec.Struct, frozen=True):
    """A member, and who has brought him in."""

    user_id: int
    email: str | None
    role: str
    can_manage_nodes: bool
    can_invite_users: bool
    can_manage_firewall: bool
    invited_by_user_id: int | None
    invited_by_email: str | None
    created_at: int


class Members:
    """The members of the networks in `store`."""

    def __init__(self, store: Store, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock

    async def of(self, actor: Actor, network_id: int) -> list[Member]:
        """Everybody in a network. Raises `Missing`, `Denied`."""

        def work(connection: Connection) -> list[Member]:
            _require_owner(rights(connection, actor, network_id))
            return _members(connection, network_id)

        return await self._store.run(work)

    async def add(self, actor: Actor, network_id: int, user_id: int, wanted: Capabilities) -> Member:
        """Bring a user in. Raises `Missing`, `Denied`, and `Unacceptable` for one who is in it."""
        moment = now(self._clock)

        def work(connection: Connection) -> Member:
            his = rights(connection, actor, network_id)
            require_may_give(his, wanted)
            if connection.execute(select(users.c.id).where(users.c.id == user_id)).first() is None:
                raise Missing(USER_MISSING)
            add_member(connection, network_id, user_id, wanted, actor.user_id, moment)
            details = {"user_id": user_id, **msgspec.structs.asdict(wanted)}
            _record(connection, actor, moment, "network_permission_added", network_id, details)
            return _members(connection, network_id, user_id)[0]

        return await self._store.run(work)

    async def change(self, actor: Actor, network_id: int, user_id: int, change: MemberChange) -> Member:
        """Change what a member may. Raises `Missing`, `Denied`, and `Unacceptable` where no owner would be left."""
        moment = now(self._clock)

        def work(connection: Connection) -> Member:
            _require_owner(rights(connection, actor, network_id))
            member = _find(connection, network_id, user_id)
            if member.role == OWNER and change.role == MEMBER and is_last_owner(connection, network_id):
                raise Unacceptable(LAST_OWNER)
            values = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not None}
            if values:
                connection.execute(update(permissions).where(*_key(network_id, user_id)).values(**values))
            _record(connection, actor, moment, "network_permission_updated", network_id, {"user_id": user_id, **values})
            return _find(connection, network_id, user_id)

        return await self._store.run(work)

    async def remove(self, actor: Actor, network_id: int, user_id: int) -> None:
        """Take a member out. Raises `Missing`, `Denied`, and `Unacceptable` where no owner would be left."""
        moment = now(self._clock)

        def work(connection: Connection) -> None:
            _require_owner(rights(connection, actor, network_id))
            member = _find(connection, network_id, user_id)
            if member.role == OWNER and is_last_owner(connection, network_id):
                raise Unacceptable(LAST_OWNER)
            connection.execute(delete(permissions).where(*_key(network_id, user_id)))
            _record(connection, actor, moment, "network_permission_removed", network_id, {"user_id": user_id})

        await self._store.run(work)


def require_may_give(his: Rights, wanted: Capabilities) -> None:
    """Raise `Denied` unless who has these rights may bring somebody in with those: only an owner makes owners."""
    his.require(his.can_invite_users)
    if wanted.role == OWNER and not his.owner:
        raise Denied("Only an owner may add owners")


def add_member(
    connection: Connection, network_id: int, user_id: int, wanted: Capabilities, invited_by: int | None, moment: int
) -> None:
    """Put a user into a network, whoever asks. Raises `Unacceptable` for one who is in it."""
    if is_member(connection, network_id, user_id):
        raise Unacceptable(ALREADY_MEMBER)
    connection.execute(
        insert(permissions).values(
            network_id=network_id,
            user_id=user_id,
            invited_by=invited_by,
            created_at=moment,
            **msgspec.structs.asdict(wanted),
        )
    )


def is_member(connection: Connection, network_id: int, user_id: int) -> bool:
    """Whether a user is in a network."""
    return connection.execute(select(permissions.c.role).where(*_key(network_id, user_id))).first() is not None


def is_last_owner(connection: Connection, network_id: int) -> bool:
    """Whether a network has no more than one owner."""
    owners = select(func.count()).where(permissions.c.network_id == network_id, permissions.c.role == OWNER)
    return connection.execute(owners).scalar_one() <= 1


def _require_owner(his: Rights) -> None:
    his.require(his.owner or his.system_admin)


def _key(network_id: int, user_id: int) -> tuple[Any, Any]:
    return permissions.c.network_id == network_id, permissions.c.user_id == user_id


def _find(connection: Connection, network_id: int, user_id: int) -> Member:
    found = _members(connection, network_id, user_id)
    if not found:
        raise Missing(USER_MISSING)
    return found[0]


def _members(connection: Connection, network_id: int, user_id: int | None = None) -> list[Member]:
    inviters = users.alias()
    query = (
        select(
            permissions.c.user_id,
            users.c.email,
            permissions.c.role,
            permissions.c.can_manage_nodes,
            permissions.c.can_invite_users,
            permissions.c.can_manage_firewall,
            permissions.c.invited_by,
            inviters.c.email,
            permissions.c.created_at,
        )
        .select_from(
            permissions.join(users, users.c.id == permissions.c.user_id).outerjoin(
                inviters, inviters.c.id == permissions.c.invited_by
            )
        )
        .where(permissions.c.network_id == network_id)
        .order_by(permissions.c.created_at, permissions.c.user_id)
    )
    if user_id is not None:
        query = query.where(permissions.c.user_id == user_id)
    return [Member(*row) for row in connection.execute(query)]


def _record(
    connection: Connection, actor: Actor, moment: int, action: str, network_id: int, details: dict[str, Any]
) -> None:
    record(
        connection,
        actor,
        moment,
        Event(action=action, resource_type="network", resource_id=network_id, details=details),
    )
