"""What a person downloads for a node he may see: its configuration, its certificates."""

from collections.abc import Callable

import msgspec
from sqlalchemy import Connection
from twisted.internet.interfaces import IReactorTime

from appliance.database.store import Store
from appliance.mesh.access import node_rights
from appliance.mesh.actor import Actor
from appliance.mesh.audit import Event, record
from appliance.mesh.device.bundle import bundle
from appliance.mesh.device.configuration import NetworkView, NodeView, render
from appliance.mesh.device.views import network_view, node_view
from appliance.mesh.errors import Missing
from appliance.mesh.moments import now
from appliance.mesh.node_rows import find_node
from appliance.mesh.vault import Vault

NO_CERTIFICATE = "Node has no certificate"


class Download(msgspec.Struct, frozen=True):
    """A file: its content, and the node's name for the file's."""

    hostname: str
    content: bytes


class Downloads:
    """Downloads of the nodes in `store`. `port` is Nebula's on hosts without an endpoint."""

    def __init__(self, store: Store, clock: IReactorTime, vault: Vault, port: int) -> None:
        self._store = store
        self._clock = clock
        self._vault = vault
        self._port = port

    async def configuration(self, actor: Actor, node_id: int) -> Download:
        """A node's configuration, with its private key where we have it. Raises `Missing`, `Denied`."""
        return await self._make(actor, node_id, "node_config_downloaded")

    async def certificates(self, actor: Actor, node_id: int) -> Download:
        """A node's certificates as ZIP, with its private key where we have it. Raises `Missing`, `Denied`."""
        return await self._make(actor, node_id, "node_certs_downloaded")

    async def certificates_of_device(self, node_id: int) -> Download:
        """The same for the node's own device. Raises `Missing`."""
        moment = now(self._clock)
        return await self._store.run(lambda connection: self._download(connection, node_id, moment, bundle))

    async def _make(self, actor: Actor, node_id: int, action: str) -> Download:
        moment = now(self._clock)

        def work(connection: Connection) -> Download:
            his = node_rights(connection, actor, node_id, moment)
            his.require(his.can_manage_nodes)
            form = bundle if action == "node_certs_downloaded" else self._file
            made = self._download(connection, node_id, moment, form)
            details = {"hostname": made.hostname}
            event = Event(action=action, resource_type="node", resource_id=node_id, details=details)
            record(connection, actor, moment, event)
            return made

        return await self._store.run(work)

    def _download(
        self, connection: Connection, node_id: int, moment: int, form: Callable[[NetworkView, NodeView], bytes]
    ) -> Download:
        node = node_view(connection, self._vault, node_id)
        if node is None:
            raise Missing(NO_CERTIFICATE)
        network = network_view(connection, find_node(connection, node_id).network_id, moment)
        return Download(node.hostname, form(network, node))

    def _file(self, network: NetworkView, node: NodeView) -> bytes:
        return render(network, node, self._port).body
