"""Networks: made with a CA of their own, seen by their members, gone with everything in them."""

from collections.abc import Callable
from ipaddress import ip_network
from typing import TypeVar

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, select, update
from twisted.internet.interfaces import IReactorTime

from appliance.database.store import Store
from appliance.mesh import authorities
from appliance.mesh.access import NETWORK_MISSING, Rights, granted, rights
from appliance.mesh.actor import Actor
from appliance.mesh.addresses import is_free
from appliance.mesh.audit import Event, record
from appliance.mesh.certificates.model import Version
from appliance.mesh.errors import Denied, Missing, Taken, Unacceptable
from appliance.mesh.moments import now
from appliance.mesh.store.rows import columns_of, to_struct
from appliance.mesh.store.tables import networks, permissions
from appliance.mesh.subnets import first_overlap, host_number_of, parse_subnet
from appliance.mesh.vault import Vault

T = TypeVar("T")

NAME_TAKEN = "A network with this name already exists"


class NetworkRow(msgspec.Struct, frozen=True):
    """A network as it is kept."""

    id: int
    name: str
    subnet: str
    certificate_version: Version
    auto_approve_nodes: bool
    created_at: int


_FIND = select(*columns_of(networks, NetworkRow)).where(networks.c.id == bindparam("network"))


class Network(msgspec.Struct, frozen=True):
    """A network as the caller may see it, and his rights in it; `authority_shown`: whether its CA is his to know."""

    row: NetworkRow
    rights: Rights
    authority_shown: bool


class NewNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """A network to be made."""

    name: str
    subnet: str
    allow_overlap: bool = False
    certificate_version: Version = 1


class NetworkChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed; None leaves it."""

    name: str | None = None
    auto_approve_nodes: bool | None = None


Reauthenticated = Callable[[Connection], None]
"""Uses a re-authentication up, inside the transaction of what it opens; raises where it does not count."""


class Networks:
    """The networks in `store`."""

    def __init__(self, store: Store, clock: IReactorTime, vault: Vault) -> None:
        self._store = store
        self._clock = clock
        self._vault = vault

    async def visible(self, actor: Actor) -> list[Network]:
        """The networks of a user, by id; all of them for a system admin."""

        def work(connection: Connection) -> list[Network]:
            mine = (permissions.c.network_id == networks.c.id) & (permissions.c.user_id == actor.user_id)
            own = (
                permissions.c.role,
                permissions.c.can_manage_nodes,
                permissions.c.can_invite_users,
                permissions.c.can_manage_firewall,
            )
            query = (
                select(*columns_of(networks, NetworkRow), *own)
                .select_from(
                    networks.outerjoin(permissions, mine) if actor.system_admin else networks.join(permissions, mine)
                )
                .order_by(networks.c.id)
            )
            found = []
            for *fields, role, nodes, invite, firewall in connection.execute(query):
                owner = role == "owner"
                his = Rights(
                    network_id=fields[0],
                    role=role,
                    can_manage_nodes=owner or bool(nodes),
                    can_invite_users=owner or bool(invite),
                    can_manage_firewall=owner or bool(firewall),
                    system_admin=actor.system_admin,
                )
                found.append(Network(NetworkRow(*fields), his, his.member))
            return found

        return await self._store.run(work)

    async def create(self, actor: Actor, wanted: NewNetwork) -> Network:
        """Make a network and its CA; whoever makes it owns it. Raises `Invalid`, `Taken`."""
        subnet = parse_subnet(wanted.subnet, wanted.certificate_version)
        moment = now(self._clock)

        def work(connection: Connection) -> Network:
            self._refuse_taken_name(connection, wanted.name)
            if not wanted.allow_overlap:
                owned = select(networks.c.subnet).join(permissions, permissions.c.network_id == networks.c.id)
                others = owned.where(permissions.c.user_id == actor.user_id, permissions.c.role == "owner")
                overlap = first_overlap(subnet, connection.execute(others).scalars())
                if overlap is not None:
                    raise Taken(f"The subnet overlaps with {overlap} of another network of yours")
            made = connection.execute(
                insert(networks)
                .values(
                    name=wanted.name,
                    subnet=str(subnet),
                    certificate_version=wanted.certificate_version,
                    created_at=moment,
                )
                .returning(*columns_of(networks, NetworkRow))
            )
            network = to_struct(made.one(), NetworkRow)
            connection.execute(
                insert(permissions).values(
                    network_id=network.id,
                    user_id=actor.user_id,
                    role="owner",
                    can_manage_nodes=True,
                    can_invite_users=True,
                    can_manage_firewall=True,
                    created_at=moment,
                )
            )
            authorities.create(
                connection, self._vault, network.id, network.name, wanted.certificate_version, moment, "current"
            )
            details = {"name": network.name, "subnet_cidr": network.subnet}
            event = Event(action="network_created", resource_type="network", resource_id=network.id, details=details)
            record(connection, actor, moment, event)
            return Network(network, rights(connection, actor, network.id), True)

        return await self._store.run(work)

    async def get(self, actor: Actor, network_id: int) -> Network:
        """One network. Raises `Missing`."""
        moment = now(self._clock)

        def work(connection: Connection) -> Network:
            his = rights(connection, actor, network_id)
            shown = his.member or granted(connection, actor, network_id, moment)
            return Network(find(connection, network_id), his, shown)

        return await self._store.run(work)

    async def change(self, actor: Actor, network_id: int, change: NetworkChange) -> Network:
        """Change a network of one's own. Raises `Missing`, `Denied`, `Taken`."""
        moment = now(self._clock)

        def work(connection: Connection) -> Network:
            his = rights(connection, actor, network_id)
            his.require(his.owner)
            values = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not None}
            if change.name is not None and change.name != find(connection, network_id).name:
                self._refuse_taken_name(connection, change.name)
            if values:
                connection.execute(update(networks).where(networks.c.id == network_id).values(**values))
            event = Event(action="network_updated", resource_type="network", resource_id=network_id, details=values)
            record(connection, actor, moment, event)
            return Network(find(connection, network_id), his, True)

        return await self._store.run(work)

    async def delete(self, actor: Actor, network_id: int, confirmation: str, reauthenticated: Reauthenticated) -> None:
        """
        Remove a network and all there is of it, keys too.

        Raises `Missing`, `Denied`, `Unacceptable` where `confirmation` is not its name, and what `reauthenticated`
        raises.
        """
        moment = now(self._clock)

        def work(connection: Connection) -> None:
            his = rights(connection, actor, network_id)
            if not (his.owner or his.system_admin):
                raise Denied
            network = find(connection, network_id)
            reauthenticated(connection)
            if confirmation != network.name:
                raise Unacceptable("Confirmation does not match network name")
            connection.execute(delete(networks).where(networks.c.id == network_id))
            details = {"name": network.name}
            event = Event(action="network_deleted", resource_type="network", resource_id=network_id, details=details)
            record(connection, actor, moment, event)

        await self._store.run(work)

    async def is_address_free(self, actor: Actor, network_id: int, address: str) -> bool:
        """Whether a host could have that address. Raises `Missing`, `Denied`, and `Unacceptable` where none could."""

        def work(connection: Connection) -> bool:
            his = rights(connection, actor, network_id)
            his.require(his.can_manage_nodes or his.system_admin)
            number = host_number_of(ip_network(find(connection, network_id).subnet), address)
            return is_free(connection, network_id, number)

        return await self._store.run(work)

    def _refuse_taken_name(self, connection: Connection, name: str) -> None:
        if connection.execute(select(networks.c.id).where(networks.c.name == name)).first() is not None:
            raise Taken(NAME_TAKEN)


def find(connection: Connection, network_id: int) -> NetworkRow:
    """The network with that id, whoever asks. Raises `Missing`."""
    row = connection.execute(_FIND, {"network": network_id}).first()
    if row is None:
        raise Missing(NETWORK_MISSING)
    return to_struct(row, NetworkRow)
