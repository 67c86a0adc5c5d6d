"""Access grants: an owner lets a system admin look into a network, or at one node, for a while."""

from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, insert, or_, select, update
from twisted.internet.interfaces import IReactorTime

from appliance.database.store import Store
from appliance.mesh.access import node_rights, rights
from appliance.mesh.actor import Actor
from appliance.mesh.audit import Event, record
from appliance.mesh.errors import Denied, Missing, Unacceptable
from appliance.mesh.moments import HOUR, now
from appliance.mesh.people import SYSTEM_ADMIN
from appliance.mesh.store.tables import access_grants, networks, nodes, users

GRANT_MISSING = "Access grant not found"
NOT_AN_ADMIN = "The user is not a system admin"
BAD_TYPE = "resource_type must be network or node"
LISTED_LIMIT = 1000


class NewGrant(msgspec.Struct, frozen=True, kw_only=True):
    """Access to be given."""

    admin_user_id: int
    resource_type: str
    resource_id: int
    hours: int
    reason: str


class Grant(msgspec.Struct, frozen=True):
    """Access that was given."""

    id: int
    admin_user_id: int
    admin_email: str | None
    resource_type: Literal["network", "node"]
    resource_id: int
    resource_name: str
    granted_by_user_id: int
    granted_by_email: str | None
    expires_at: int
    created_at: int
    revoked_at: int | None
    reason: str


class Grants:
    """The grants in `store`."""

    def __init__(self, store: Store, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock

    async def make(self, actor: Actor, wanted: NewGrant) -> Grant:
        """Let a system admin in. Raises `Missing`, `Denied`, `Unacceptable`."""
        moment = now(self._clock)

        def work(connection: Connection) -> Grant:
            network_id, node_id = self._owned(connection, actor, wanted, moment)
            role = select(users.c.system_role).where(users.c.id == wanted.admin_user_id)
            if connection.execute(role).scalar() != SYSTEM_ADMIN:
                raise Unacceptable(NOT_AN_ADMIN)
            made = connection.execute(
                insert(access_grants)
                .values(
                    admin_user_id=wanted.admin_user_id,
                    granted_by=actor.user_id,
                    network_id=network_id,
                    node_id=node_id,
                    reason=wanted.reason,
                    created_at=moment,
                    expires_at=moment + wanted.hours * HOUR,
                )
                .returning(access_grants.c.id)
            )
            grant = _find(connection, int(made.scalar_one()))
            _record(connection, actor, moment, "access_grant_created", grant)
            return grant

        return await self._store.run(work)

    async def of(self, actor: Actor, *, active_only: bool) -> list[Grant]:
        """Those that the user has given or been given, the newest first, at most `LISTED_LIMIT`."""
        moment = now(self._clock)

        def work(connection: Connection) -> list[Grant]:
            mine = or_(access_grants.c.granted_by == actor.user_id, access_grants.c.admin_user_id == actor.user_id)
            query = _select().where(mine).order_by(access_grants.c.id.desc()).limit(LISTED_LIMIT)
            if active_only:
                query = query.where(access_grants.c.revoked_at.is_(None), access_grants.c.expires_at > moment)
            return [_grant(row) for row in connection.execute(query)]

        return await self._store.run(work)

    async def revoke(self, actor: Actor, grant_id: int) -> None:
        """Take it back. Raises `Missing` for a grant the user has nothing to do with, `Denied` unless he gave it."""
        moment = now(self._clock)

        def work(connection: Connection) -> None:
            grant = _find(connection, grant_id)
            if actor.user_id not in (grant.granted_by_user_id, grant.admin_user_id):
                raise Missing(GRANT_MISSING)
            if grant.granted_by_user_id != actor.user_id:
                raise Denied
            if grant.revoked_at is None:
                connection.execute(
                    update(access_grants).where(access_grants.c.id == grant_id).values(revoked_at=moment)
                )
                _record(connection, actor, moment, "access_grant_revoked", grant)

        await self._store.run(work)

    def _owned(self, connection: Connection, actor: Actor, wanted: NewGrant, moment: int) -> tuple[int, int | None]:
        """The network and the node that the grant is for. Raises unless the user owns the network."""
        if wanted.resource_type == "network":
            his = rights(connection, actor, wanted.resource_id)
            his.require(his.owner)
            return wanted.resource_id, None
        if wanted.resource_type == "node":
            his = node_rights(connection, actor, wanted.resource_id, moment)
            his.require(his.owner)
            return his.network_id, wanted.resource_id
        raise Unacceptable(BAD_TYPE)


def _select() -> Any:
    admins, granters = users.alias(), users.alias()
    return select(
        access_grants.c.id,
        access_grants.c.admin_user_id,
        admins.c.email,
        access_grants.c.network_id,
        networks.c.name,
        access_grants.c.node_id,
        nodes.c.hostname,
        access_grants.c.granted_by,
        granters.c.email,
        access_grants.c.expires_at,
        access_grants.c.created_at,
        access_grants.c.revoked_at,
        access_grants.c.reason,
    ).select_from(
        access_grants.join(admins, admins.c.id == access_grants.c.admin_user_id)
        .join(granters, granters.c.id == access_grants.c.granted_by)
        .join(networks, networks.c.id == access_grants.c.network_id)
        .outerjoin(nodes, nodes.c.id == access_grants.c.node_id)
    )


def _grant(row: Any) -> Grant:
    id, admin_id, admin, network_id, network, node_id, node, by_id, by, *rest = row
    if node_id is None:
        return Grant(id, admin_id, admin, "network", network_id, network, by_id, by, *rest)
    return Grant(id, admin_id, admin, "node", node_id, node, by_id, by, *rest)


def _find(connection: Connection, grant_id: int) -> Grant:
    row = connection.execute(_select().where(access_grants.c.id == grant_id)).first()
    if row is None:
        raise Missing(GRANT_MISSING)
    return _grant(row)


def _record(connection: Connection, actor: Actor, moment: int, action: str, grant: Grant) -> None:
    details = {"admin_email": grant.admin_email, "resource": grant.resource_name, "reason": grant.reason}
    event = Event(action=action, resource_type=grant.resource_type, resource_id=grant.resource_id, details=details)
    record(connection, actor, moment, event)
