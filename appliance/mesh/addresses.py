"""Addresses for hosts: the lowest free one, or the one that was asked for; each host of a network has another."""

from sqlalchemy import Connection, bindparam, select, update

from appliance.mesh.errors import Invalid, Taken, Unacceptable
from appliance.mesh.store.tables import networks, nodes
from appliance.mesh.subnets import Subnet, host_number_of, last_host_number

NETWORK_FULL = "No available IP address in the network"
ADDRESS_TAKEN = "IP address is already in use"

_TAKEN = select(nodes.c.id).where(
    nodes.c.network_id == bindparam("network"), nodes.c.host_number == bindparam("number")
)


def choose(connection: Connection, network_id: int, subnet: Subnet, suggested: str | None) -> int:
    """The host number for a new host. Raises `Invalid` for an address no host can have, and `Taken`."""
    if suggested is None:
        return _lowest_free(connection, network_id, subnet)
    try:
        number = host_number_of(subnet, suggested)
    except Unacceptable as error:
        raise Invalid("suggested_ip", str(error)) from None
    if not is_free(connection, network_id, number):
        raise Taken(ADDRESS_TAKEN)
    return number


def is_free(connection: Connection, network_id: int, host_number: int) -> bool:
    """Whether no host of the network has that number."""
    return connection.execute(_TAKEN, {"network": network_id, "number": host_number}).first() is None


def release(connection: Connection, network_id: int, host_number: int | None) -> None:
    """Note that a host's number has become free."""
    if host_number is not None:
        connection.execute(
            update(networks)
            .where(networks.c.id == network_id, networks.c.first_free > host_number)
            .values(first_free=host_number)
        )


def _lowest_free(connection: Connection, network_id: int, subnet: Subnet) -> int:
    """Found by the index on host numbers, from the first that may be free on, however large the network is."""
    first = connection.execute(select(networks.c.first_free).where(networks.c.id == network_id)).scalar_one()
    number = first if is_free(connection, network_id, first) else _first_gap(connection, network_id, first)
    if number > last_host_number(subnet):
        raise Taken(NETWORK_FULL)
    connection.execute(update(networks).where(networks.c.id == network_id).values(first_free=number + 1))
    return int(number)


def _first_gap(connection: Connection, network_id: int, first: int) -> int:
    """The first free number behind one that is taken."""
    next_one = nodes.alias()
    query = (
        select(nodes.c.host_number + 1)
        .select_from(
            nodes.outerjoin(
                next_one,
                (next_one.c.network_id == nodes.c.network_id) & (next_one.c.host_number == nodes.c.host_number + 1),
            )
        )
        .where(nodes.c.network_id == network_id, nodes.c.host_number >= first, next_one.c.id.is_(None))
        .order_by(nodes.c.host_number)
        .limit(1)
    )
    return int(connection.execute(query).scalar_one())
