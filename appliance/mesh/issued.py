"""The certificates that were issued, as a list."""

import msgspec
from sqlalchemy import Connection, select

from appliance.database.store import Store
from appliance.mesh.access import rights
from appliance.mesh.actor import Actor
from appliance.mesh.store.tables import certificates, networks, nodes, permissions

LISTED_LIMIT = 10_000


class IssuedRow(msgspec.Struct, frozen=True):
    """A certificate and whose it is."""

    id: int
    node_id: int
    node_name: str
    network_id: int
    network_name: str
    ip_address: str
    issued_at: int
    expires_at: int
    revoked_at: int | None


class IssuedCertificates:
    """The certificates in `store`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, actor: Actor, network_id: int | None) -> list[IssuedRow]:
        """
        Those of a network, or of all networks the user is in, the newest first; at most `LISTED_LIMIT`.

        Raises `Missing`, `Denied`.
        """

        def work(connection: Connection) -> list[IssuedRow]:
            query = (
                select(
                    certificates.c.id,
                    certificates.c.node_id,
                    nodes.c.hostname,
                    certificates.c.network_id,
                    networks.c.name,
                    certificates.c.ip_address,
                    certificates.c.issued_at,
                    certificates.c.expires_at,
                    certificates.c.revoked_at,
                )
                .select_from(certificates)
                .join(nodes, nodes.c.id == certificates.c.node_id)
                .join(networks, networks.c.id == certificates.c.network_id)
                .order_by(certificates.c.id.desc())
                .limit(LISTED_LIMIT)
            )
            if network_id is not None:
                his = rights(connection, actor, network_id)
                his.require(his.member)
                query = query.where(certificates.c.network_id == network_id)
            else:
                own = select(permissions.c.network_id).where(permissions.c.user_id == actor.user_id)
                query = query.where(certificates.c.network_id.in_(own))
            return [IssuedRow(*row) for row in connection.execute(query)]

        return await self._store.run(work)
