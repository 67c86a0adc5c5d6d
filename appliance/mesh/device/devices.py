"""Devices: the state of a node that a poll needs, in one look by key, however large the network is."""

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection, bindparam, func, select

from appliance.background import Background
from appliance.database.store import Store
from appliance.mesh.device.gathering import Gathering
from appliance.mesh.store.tables import firewalls, networks, nodes
from appliance.mesh.tokens import DeviceClaims

BATCH_LIMIT = 500


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
    .where(nodes.c.id.in_(bindparam("ids", expanding=True)))
)


class Devices:
    """Looks devices up in `store`, all who ask at the same time at once. `background` owns that."""

    def __init__(self, store: Store, background: Background) -> None:
        self._store = store
        self._gathering = Gathering(background, "looking devices up", self._look_up)

    async def recognise(self, claims: DeviceClaims) -> DeviceState | None:
        """
        The node of a device's token; None where it is gone, or the token is an older one.

        Raises `Overloaded` and a `DatabaseError`.
        """
        state = (await self._gathering.ask(claims.node_id)).get(claims.node_id)
        return state if state is not None and state.token_version == claims.ver else None

    async def _look_up(self, batch: Mapping[int, bool]) -> dict[int, DeviceState]:
        found: dict[int, DeviceState] = {}
        ids = list(batch)
        for begin in range(0, len(ids), BATCH_LIMIT):
            found |= await self._store.run(_Look(ids[begin : begin + BATCH_LIMIT]))
        return found


class _Look:
    """One batch's statement."""

    def __init__(self, ids: list[int]) -> None:
        self._ids = ids

    def __call__(self, connection: Connection) -> dict[int, DeviceState]:
        return {row[0]: DeviceState(*row) for row in connection.execute(_STATE, {"ids": self._ids})}
