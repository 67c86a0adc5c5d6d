"""What a device may know of its network beyond its configuration."""

from sqlalchemy import Connection, select

from appliance.database.store import Store
from appliance.mesh.store.tables import networks, nodes


class Information:
    """Looks into `store`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def names(self, node_id: int) -> tuple[str, str]:
        """The names of a node's network and of the node."""

        def work(connection: Connection) -> tuple[str, str]:
            query = select(networks.c.name, nodes.c.hostname).join(nodes, nodes.c.network_id == networks.c.id)
            network, hostname = connection.execute(query.where(nodes.c.id == node_id)).one()
            return network, hostname

        return await self._store.run(work)

    async def lighthouses(self, network_id: int, but: int) -> list[tuple[int, str]]:
        """Id and address of each lighthouse of a network except the node `but`."""

        def work(connection: Connection) -> list[tuple[int, str]]:
            query = (
                select(nodes.c.id, nodes.c.ip_address)
                .where(
                    nodes.c.network_id == network_id,
                    nodes.c.is_lighthouse,
                    nodes.c.ip_address.is_not(None),
                    nodes.c.id != but,
                )
                .order_by(nodes.c.id)
            )
            return [(node_id, address) for node_id, address in connection.execute(query)]

        return await self._store.run(work)

    async def subnet(self, network_id: int) -> str:
        """The subnet of a network."""
        query = select(networks.c.subnet).where(networks.c.id == network_id)
        return await self._store.run(lambda connection: str(connection.execute(query).scalar_one()))
