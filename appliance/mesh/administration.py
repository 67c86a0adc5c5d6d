"""Users as system admins see and change them."""

import msgspec
from sqlalchemy import Connection, delete, func, select, update
from twisted.internet.interfaces import IReactorTime

from appliance.database.store import Store
from appliance.mesh.actor import Actor
from appliance.mesh.audit import AuditFilter, AuditRow, Event, entries, record
from appliance.mesh.errors import Missing, Taken, Unacceptable
from appliance.mesh.members import OWNER, USER_MISSING, is_last_owner
from appliance.mesh.moments import now
from appliance.mesh.people import SYSTEM_ADMIN, USER, UserRow
from appliance.mesh.store.rows import columns_of
from appliance.mesh.store.tables import networks, permissions, users

LAST_ADMIN = "There must be a system admin left"


class CountedUser(msgspec.Struct, frozen=True):
    """A user, and in how many networks he is."""

    row: UserRow
    network_count: int


class NetworkOfUser(msgspec.Struct, frozen=True):
    """A network that a user is in, and as what."""

    id: int
    name: str
    role: str
    can_manage_nodes: bool
    can_invite_users: bool
    can_manage_firewall: bool


class Administration:
    """The users in `store`, for system admins: the surface lets nobody else come here."""

    def __init__(self, store: Store, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock

    async def users(self) -> list[CountedUser]:
        """All users, by id."""
        return await self._store.run(_users)

    async def user(self, user_id: int) -> tuple[CountedUser, list[NetworkOfUser]]:
        """One user and his networks. Raises `Missing`."""

        def work(connection: Connection) -> tuple[CountedUser, list[NetworkOfUser]]:
            query = (
                select(
                    networks.c.id,
                    networks.c.name,
                    permissions.c.role,
                    permissions.c.can_manage_nodes,
                    permissions.c.can_invite_users,
                    permissions.c.can_manage_firewall,
                )
                .join(permissions, permissions.c.network_id == networks.c.id)
                .where(permissions.c.user_id == user_id)
                .order_by(networks.c.id)
            )
            return _find(connection, user_id), [NetworkOfUser(*row) for row in connection.execute(query)]

        return await self._store.run(work)

    async def set_role(self, actor: Actor, user_id: int, role: str) -> CountedUser:
        """Make a user a system admin, or no longer. Raises `Missing`, `Unacceptable` for another role, `Taken`."""
        moment = now(self._clock)

        def work(connection: Connection) -> CountedUser:
            found = _find(connection, user_id)
            if role not in (USER, SYSTEM_ADMIN):
                raise Unacceptable(f"system_role must be {USER} or {SYSTEM_ADMIN}")
            if role == USER:
                _refuse_last_admin(connection, found.row)
            connection.execute(update(users).where(users.c.id == user_id).values(system_role=role))
            details = {"system_role": role, "email": found.row.email}
            event = Event(action="user_role_updated", resource_type="user", resource_id=user_id, details=details)
            record(connection, actor, moment, event)
            return _find(connection, user_id)

        return await self._store.run(work)

    async def delete(self, actor: Actor, user_id: int) -> None:
        """Remove a user from everywhere. Raises `Missing`, and `Taken` where a network or the mesh needs him."""
        moment = now(self._clock)

        def work(connection: Connection) -> None:
            found = _find(connection, user_id)
            _refuse_last_admin(connection, found.row)
            owned = select(permissions.c.network_id, networks.c.name).join(
                networks, networks.c.id == permissions.c.network_id
            )
            mine = owned.where(permissions.c.user_id == user_id, permissions.c.role == OWNER)
            for network_id, name in connection.execute(mine).all():
                if is_last_owner(connection, network_id):
                    raise Taken(f"The user is the only owner of network {name}")
            connection.execute(delete(users).where(users.c.id == user_id))
            details = {"email": found.row.email}
            event = Event(action="user_deleted", resource_type="user", resource_id=user_id, details=details)
            record(connection, actor, moment, event)

        await self._store.run(work)

    async def audit(self, wanted: AuditFilter) -> list[AuditRow]:
        """What was done in the mesh, the newest first."""
        return await self._store.run(lambda connection: entries(connection, wanted))


def _users(connection: Connection, user_id: int | None = None) -> list[CountedUser]:
    count = select(func.count()).select_from(permissions).where(permissions.c.user_id == users.c.id).scalar_subquery()
    query = select(*columns_of(users, UserRow), count).order_by(users.c.id)
    if user_id is not None:
        query = query.where(users.c.id == user_id)
    found = []
    for row in connection.execute(query):
        fields = tuple(row)
        found.append(CountedUser(UserRow(*fields[:-1]), fields[-1]))
    return found


def _find(connection: Connection, user_id: int) -> CountedUser:
    found = _users(connection, user_id)
    if not found:
        raise Missing(USER_MISSING)
    return found[0]


def _refuse_last_admin(connection: Connection, user: UserRow) -> None:
    if user.system_role != SYSTEM_ADMIN:
        return
    others = select(func.count()).where(users.c.system_role == SYSTEM_ADMIN, users.c.id != user.id)
    if connection.execute(others).scalar_one() == 0:
        raise Taken(LAST_ADMIN)
