"""What a user may do with a network and what is in it; every rule is asked inside the transaction it guards."""

from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, or_, select

from appliance.mesh.actor import Actor
from appliance.mesh.errors import Denied, Missing
from appliance.mesh.store.tables import access_grants, networks, nodes, permissions

NETWORK_MISSING = "Network not found"
NODE_MISSING = "Node not found"

_RIGHTS = (
    select(
        permissions.c.role,
        permissions.c.can_manage_nodes,
        permissions.c.can_invite_users,
        permissions.c.can_manage_firewall,
    )
    .select_from(
        networks.outerjoin(
            permissions, (permissions.c.network_id == networks.c.id) & (permissions.c.user_id == bindparam("user"))
        )
    )
    .where(networks.c.id == bindparam("network"))
)


class Rights(msgspec.Struct, frozen=True, kw_only=True):
    """A user's rights in one network; `role` is `owner`, `member`, or None for who is neither.

    An owner has every capability. A system admin sees a network without being in it.
    """

    network_id: int
    role: str | None = None
    can_manage_nodes: bool = False
    can_invite_users: bool = False
    can_manage_firewall: bool = False
    system_admin: bool = False

    @property
    def owner(self) -> bool:
        """Whether the user owns the network."""
        return self.role == "owner"

    @property
    def member(self) -> bool:
        """Whether the user is in the network at all."""
        return self.role is not None

    def require(self, allowed: bool) -> "Rights":
        """Raise `Denied` unless `allowed`, which is made of these rights."""
        if not allowed:
            raise Denied
        return self


def rights(connection: Connection, actor: Actor, network_id: int) -> Rights:
    """The rights of `actor`. Raises `Missing` for a network that is not there or that he may not know of."""
    found = rights_or_none(connection, actor, network_id)
    if found is None:
        raise Missing(NETWORK_MISSING)
    return found


def rights_or_none(connection: Connection, actor: Actor, network_id: int) -> Rights | None:
    """The same; None for a network that is not there or that he may not know of."""
    row = connection.execute(_RIGHTS, {"user": actor.user_id, "network": network_id}).first()
    if row is None or (row.role is None and not actor.system_admin):
        return None
    owner = row.role == "owner"
    return Rights(
        network_id=network_id,
        role=row.role,
        can_manage_nodes=owner or bool(row.can_manage_nodes),
        can_invite_users=owner or bool(row.can_invite_users),
        can_manage_firewall=owner or bool(row.can_manage_firewall),
        system_admin=actor.system_admin,
    )


def node_rights(connection: Connection, actor: Actor, node_id: int, moment: int) -> Rights:
    """
    The rights of `actor` in the network of a node that he may see: as a member, or as a system admin with a grant.

    Raises `Missing`.
    """
    network_id = connection.execute(select(nodes.c.network_id).where(nodes.c.id == node_id)).scalar()
    found = None if network_id is None else rights_or_none(connection, actor, network_id)
    if found is None or not (found.member or granted(connection, actor, found.network_id, moment, node_id)):
        raise Missing(NODE_MISSING)
    return found


def granted_networks(actor: Actor, moment: int) -> Any:
    """A query for the networks that a system admin was given access to, which counts at this moment."""
    return select(access_grants.c.network_id).where(access_grants.c.node_id.is_(None), *_good(actor, moment))


def granted_nodes(actor: Actor, moment: int) -> Any:
    """A query for the nodes that a system admin was given access to one by one, which counts at this moment."""
    return select(access_grants.c.node_id).where(access_grants.c.node_id.is_not(None), *_good(actor, moment))


def granted(connection: Connection, actor: Actor, network_id: int, moment: int, node_id: int | None = None) -> bool:
    """Whether a system admin was given access, to the network or to that node of it, that counts at this moment."""
    if not actor.system_admin:
        return False
    whole_network = access_grants.c.node_id.is_(None)
    of = whole_network if node_id is None else or_(whole_network, access_grants.c.node_id == node_id)
    return (
        connection.execute(
            select(access_grants.c.id)
            .where(access_grants.c.network_id == network_id, of, *_good(actor, moment))
            .limit(1)
        ).first()
        is not None
    )


def _good(actor: Actor, moment: int) -> tuple[Any, ...]:
    """What holds for grants of that admin which are neither revoked nor over."""
    return (
        access_grants.c.admin_user_id == actor.user_id,
        access_grants.c.revoked_at.is_(None),
        access_grants.c.expires_at > moment,
    )
