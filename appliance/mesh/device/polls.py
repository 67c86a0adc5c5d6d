"""Configurations for devices that ask every minute: made once for each state of a node, and kept with their ETags."""

from collections import OrderedDict

import msgspec
from sqlalchemy import Connection, select
from twisted.internet.interfaces import IReactorTime

from appliance.database.store import Store
from appliance.mesh.device.configuration import Configuration, NetworkView, render
from appliance.mesh.device.devices import DeviceState
from appliance.mesh.device.views import network_view, node_view
from appliance.mesh.errors import Missing
from appliance.mesh.issuing import block
from appliance.mesh.moments import now
from appliance.mesh.store.tables import certificates
from appliance.mesh.vault import Vault

NO_CERTIFICATE = "Node has no certificate"
KEPT_BYTES = 32 << 20
"""Bytes of configurations that are kept; ETags are kept for `KEPT_TAGS` nodes."""
KEPT_TAGS = 200_000
KEPT_NETWORKS = 64

Versions = tuple[int, int, int, int]


class _Tag(msgspec.Struct):
    """The ETag of a node's configuration as long as its versions stay; `fetched` once it was handed out."""

    versions: Versions
    etag: str
    fetched: bool = False


class Configurations:
    """
    The configurations in force. A poll that finds nothing changed costs one look into the cache.

    What all hosts of a network share is read once for each of its versions. A version is read before what it stands
    for, so that a change in between only makes the next poll look again. `port` is Nebula's on hosts without an
    endpoint.
    """

    def __init__(self, store: Store, clock: IReactorTime, vault: Vault, port: int) -> None:
        self._store = store
        self._clock = clock
        self._vault = vault
        self._port = port
        self._tags: OrderedDict[int, _Tag] = OrderedDict()
        self._bodies: OrderedDict[int, Configuration] = OrderedDict()
        self._body_bytes = 0
        self._networks: OrderedDict[int, tuple[int, NetworkView]] = OrderedDict()

    def unchanged(self, state: DeviceState, etags: frozenset[str]) -> str | None:
        """The ETag of the node's configuration where it is known and among those the device has."""
        tag = self._tags.get(state.node_id)
        if tag is None or tag.versions != state.versions or not tag.fetched:
            return None
        return tag.etag if tag.etag in etags or "*" in etags else None

    async def get(self, state: DeviceState) -> Configuration:
        """The node's configuration. Raises `Missing` where it has no certificate."""
        tag, kept = self._tags.get(state.node_id), self._bodies.get(state.node_id)
        if tag is None or kept is None or tag.versions != state.versions:
            kept = await self._make(state)
            tag = self._keep(state, kept)
        if not tag.fetched:
            await self._store.run(lambda connection: self._block_replaced(connection, state))
            tag.fetched = True
        return kept

    async def _make(self, state: DeviceState) -> Configuration:
        moment = now(self._clock)
        shared = self._networks.get(state.network_id)
        known = shared[1] if shared is not None and shared[0] == state.network_version else None

        def work(connection: Connection) -> tuple[NetworkView, Configuration] | None:
            node = node_view(connection, self._vault, state.node_id)
            if node is None:
                return None
            network = known or network_view(connection, state.network_id, moment)
            return network, render(network, node, self._port)

        made = await self._store.run(work)
        if made is None:
            raise Missing(NO_CERTIFICATE)
        self._networks[state.network_id] = (state.network_version, made[0])
        self._networks.move_to_end(state.network_id)
        if len(self._networks) > KEPT_NETWORKS:
            self._networks.popitem(last=False)
        return made[1]

    def _keep(self, state: DeviceState, made: Configuration) -> _Tag:
        before = self._tags.pop(state.node_id, None)
        fetched = before is not None and before.etag == made.etag and before.fetched
        tag = self._tags[state.node_id] = _Tag(state.versions, made.etag, fetched)
        if len(self._tags) > KEPT_TAGS:
            self._tags.popitem(last=False)
        old = self._bodies.pop(state.node_id, None)
        self._body_bytes += len(made.body) - (len(old.body) if old is not None else 0)
        self._bodies[state.node_id] = made
        while self._body_bytes > KEPT_BYTES:
            _, dropped = self._bodies.popitem(last=False)
            self._body_bytes -= len(dropped.body)
        return tag

    def _block_replaced(self, connection: Connection, state: DeviceState) -> None:
        """The device has its new certificate: those that a change of groups replaced count no more."""
        replaced = select(certificates.c.id).where(
            certificates.c.node_id == state.node_id,
            certificates.c.replaced_at.is_not(None),
            certificates.c.id != state.certificate_id,
        )
        ids = list(connection.execute(replaced).scalars())
        if ids:
            block(connection, state.network_id, ids)
