"""Devices: the state of a node that a poll needs, in one look by key, however large the network is."""

import msgspec
from sqlalchemy import bindparam, func, select

from appliance.database.store import Store
from appliance.mesh.store.tables import firewalls, networks, nodes
from appliance.mesh.tokens import DeviceClaims


class DeviceState(msgspec.Struct, frozen=True):
    """A node as a poll sees it. Its configuration is another one whenever one of the three versions is."""

    node_id: int
    network_id: int
    token_version: int
    certificate_id: int | None
    first_polled_at: int | None
    version: int
    network_version: int
    firewall_version: int

    @property
    def versions(self) -> tuple[int, int, int, int]:
        """What a configuration that was made stays right for."""
        return self.network_id, self.version, self.network_version, self.firewall_version


_own_firewall = (firewalls.c.network_id == nodes.c.network_id) & (firewalls.c.group_name == nodes.c.group_name)
_STATE = (
    select(
        nodes.c.id,
        nodes.c.network_id,
        nodes.c.token_version,
        nodes.c.certificate_id,
        nodes.c.first_polled_at,
        nodes.c.version,
        networks.c.version,
        func.coalesce(firewalls.c.version, 0),
    )
    .select_from(nodes.join(networks, networks.c.id == nodes.c.network_id).outerjoin(firewalls, _own_firewall))
    .where(nodes.c.id == bindparam("node_id"))
)


class Devices:
    """Looks devices up in `store`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def recognise(self, claims: DeviceClaims) -> DeviceState | None:
        """The node of a device's token; None where it is gone, or the token is an older one."""
        row = await self._store.run(lambda connection: connection.execute(_STATE, {"node_id": claims.node_id}).first())
        if row is None or row.token_version != claims.ver:
            return None
        return DeviceState(*row)
