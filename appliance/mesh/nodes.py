"""Nodes: hosts of a network, each with an address and a certificate of its own."""

from ipaddress import ip_network
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, or_, select, update
from twisted.internet.interfaces import IReactorTime

from appliance.database.store import Store
from appliance.mesh.access import granted, granted_networks, granted_nodes, node_rights, rights
from appliance.mesh.actor import Actor
from appliance.mesh.addresses import choose, release
from appliance.mesh.certificates.keys import new_host_key
from appliance.mesh.errors import Taken
from appliance.mesh.issuing import block_all, touch
from appliance.mesh.moments import now
from appliance.mesh.networks import find
from appliance.mesh.node_making import Made, NewNode, create_in, issue_for
from appliance.mesh.node_options import NodeOptions, encode_options
from appliance.mesh.node_rows import (
    PENDING,
    REVOKED,
    Node,
    NodeRow,
    find_node,
    record_node,
    select_nodes,
    to_node,
    update_node,
)
from appliance.mesh.store.rows import columns_of, to_struct
from appliance.mesh.store.tables import certificates, enrollment_codes, nodes, permissions
from appliance.mesh.subnets import address_of
from appliance.mesh.vault import Vault

ONLY_LIGHTHOUSE = "The node is the network's only lighthouse"


class NodeChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed; None leaves it, an empty text clears it."""

    group: str | None = None
    is_lighthouse: bool | None = None
    is_relay: bool | None = None
    public_endpoint: str | None = None
    options: NodeOptions = NodeOptions()


class Nodes:
    """The nodes in `store`."""

    def __init__(self, store: Store, clock: IReactorTime, vault: Vault) -> None:
        self._store = store
        self._clock = clock
        self._vault = vault

    async def visible(self, actor: Actor, network_id: int | None) -> list[Node]:
        """The nodes of a network, or of all networks, that the user may see. Raises `Missing`, `Denied`."""
        moment = now(self._clock)

        def work(connection: Connection) -> list[Node]:
            query = select_nodes().order_by(nodes.c.id)
            if network_id is None:
                query = query.where(_visible(actor, moment))
                return [to_node(row) for row in connection.execute(query)]
            his = rights(connection, actor, network_id)
            query = query.where(nodes.c.network_id == network_id)
            sees_all = his.member or granted(connection, actor, network_id, moment)
            if not sees_all:
                query = query.where(nodes.c.id.in_(granted_nodes(actor, moment)))
            found = [to_node(row) for row in connection.execute(query)]
            his.require(sees_all or bool(found))
            return found

        return await self._store.run(work)

    async def get(self, actor: Actor, node_id: int) -> Node:
        """One node. Raises `Missing`."""
        moment = now(self._clock)

        def work(connection: Connection) -> Node:
            node_rights(connection, actor, node_id, moment)
            return to_node(connection.execute(select_nodes().where(nodes.c.id == node_id)).one())

        return await self._store.run(work)

    async def require_manager(self, actor: Actor, node_id: int) -> None:
        """Raise `Missing` or `Denied` unless the user may manage that node."""
        moment = now(self._clock)
        await self._store.run(lambda connection: self._manageable(connection, actor, node_id, moment).id)

    async def create(self, actor: Actor, network_id: int, wanted: NewNode) -> Made:
        """Make a node and its pair of keys. Raises `Missing`, `Denied`, `Unacceptable`, `Invalid`, `Taken`."""
        moment, key = now(self._clock), new_host_key()

        def work(connection: Connection) -> Made:
            his = rights(connection, actor, network_id)
            his.require(his.can_manage_nodes)
            return create_in(connection, self._vault, actor, moment, network_id, wanted, key)

        return await self._store.run(work)

    async def sign(self, actor: Actor, network_id: int, wanted: NewNode, public_key: bytes) -> Made:
        """
        Sign a certificate for a key that its host keeps, for a new node or for the one of that name.

        Raises what `create` raises.
        """
        moment = now(self._clock)

        def work(connection: Connection) -> Made:
            his = rights(connection, actor, network_id)
            his.require(his.can_manage_nodes)
            there = connection.execute(
                select(*columns_of(nodes, NodeRow)).where(
                    nodes.c.network_id == network_id, nodes.c.hostname == wanted.name
                )
            ).first()
            if there is None:
                return create_in(connection, self._vault, actor, moment, network_id, wanted, public_key)
            return self._sign_anew(connection, actor, moment, to_struct(there, NodeRow), wanted, public_key)

        return await self._store.run(work)

    async def change(self, actor: Actor, node_id: int, change: NodeChange) -> None:
        """Change a node. Raises `Missing`, `Denied`, `Taken`."""
        moment = now(self._clock)

        def work(connection: Connection) -> None:
            node = self._manageable(connection, actor, node_id, moment)
            values = _changed_values(node, change)
            if node.is_lighthouse and values.get("is_lighthouse") is False:
                _refuse_only_lighthouse(connection, node)
            update_node(connection, node_id, **values)
            if values.keys() & {"is_lighthouse", "is_relay", "public_endpoint"}:
                touch(connection, node.network_id)
            if "group_name" in values and node.certificate_id is not None:
                self._replace_certificate(connection, find_node(connection, node_id), moment)
            record_node(connection, actor, moment, "node_updated", node, fields=sorted(values))

        await self._store.run(work)

    async def delete(self, actor: Actor, node_id: int) -> None:
        """Remove a node; no host accepts its certificates any more. Raises `Missing`, `Denied`, `Taken`."""
        moment = now(self._clock)

        def work(connection: Connection) -> None:
            node = self._manageable(connection, actor, node_id, moment)
            if node.is_lighthouse:
                _refuse_only_lighthouse(connection, node)
            block_all(connection, node.network_id, node_id, moment)
            release(connection, node.network_id, node.host_number)
            connection.execute(delete(nodes).where(nodes.c.id == node_id))
            if node.is_lighthouse or node.is_relay:
                touch(connection, node.network_id)
            record_node(connection, actor, moment, "node_deleted", node)

        await self._store.run(work)

    async def revoke(self, actor: Actor, node_id: int) -> None:
        """
        Take a node's certificate, key, address and device token away; the node stays. Raises `Missing`, `Denied`.
        """
        moment = now(self._clock)

        def work(connection: Connection) -> None:
            node = self._manageable(connection, actor, node_id, moment)
            block_all(connection, node.network_id, node_id, moment)
            _end_codes(connection, node_id, moment)
            release(connection, node.network_id, node.host_number)
            update_node(
                connection,
                node_id,
                ip_address=None,
                host_number=None,
                public_key=None,
                key_sealed=None,
                certificate_id=None,
                status=REVOKED,
                token_version=nodes.c.token_version + 1,
            )
            if node.is_lighthouse or node.is_relay:
                touch(connection, node.network_id)
            record_node(connection, actor, moment, "cert_revoked", node)

        await self._store.run(work)

    async def enroll_again(self, actor: Actor, node_id: int) -> None:
        """
        Give a node a new pair of keys and a new certificate; what it had counts no more.

        Raises `Missing`, `Denied`, `Taken` where no address is free.
        """
        moment, key = now(self._clock), new_host_key()

        def work(connection: Connection) -> None:
            node = self._manageable(connection, actor, node_id, moment)
            block_all(connection, node.network_id, node_id, moment)
            _end_codes(connection, node_id, moment)
            network = find(connection, node.network_id)
            subnet = ip_network(network.subnet)
            number = node.host_number
            if number is None:
                number = choose(connection, network.id, subnet, None)
            update_node(
                connection,
                node_id,
                ip_address=str(address_of(subnet, number)),
                host_number=number,
                public_key=key.public,
                key_sealed=self._vault.seal_host_key(key.private.reveal()),
                status=PENDING,
                token_version=nodes.c.token_version + 1,
            )
            issue_for(connection, self._vault, network, find_node(connection, node_id), moment, None)
            if node.is_lighthouse or node.is_relay:
                touch(connection, node.network_id)
            record_node(connection, actor, moment, "node_reenrolled", node)

        await self._store.run(work)

    def _manageable(self, connection: Connection, actor: Actor, node_id: int, moment: int) -> NodeRow:
        his = node_rights(connection, actor, node_id, moment)
        his.require(his.can_manage_nodes)
        return find_node(connection, node_id)

    def _sign_anew(
        self,
        connection: Connection,
        actor: Actor,
        moment: int,
        node: NodeRow,
        wanted: NewNode,
        public_key: bytes,
    ) -> Made:
        network = find(connection, node.network_id)
        subnet = ip_network(network.subnet)
        number = node.host_number
        if number is None or (wanted.suggested_ip is not None and wanted.suggested_ip != node.ip_address):
            number = choose(connection, network.id, subnet, wanted.suggested_ip)
            release(connection, network.id, node.host_number)
        update_node(
            connection,
            node.id,
            ip_address=str(address_of(subnet, number)),
            host_number=number,
            group_name=wanted.group if wanted.group is not None else node.group_name,
            public_key=public_key,
            key_sealed=None,
            status=node.status if node.status != REVOKED else PENDING,
        )
        now_so = find_node(connection, node.id)
        issued = issue_for(connection, self._vault, network, now_so, moment, wanted.duration_days)
        # The answer brings the new certificate, so the old one need not count any longer, unless nothing else differs.
        if (now_so.public_key, now_so.group_name, now_so.ip_address) != (
            node.public_key,
            node.group_name,
            node.ip_address,
        ):
            block_all(connection, network.id, node.id, moment, but=issued.id)
        if node.is_lighthouse or node.is_relay:
            touch(connection, network.id)
        record_node(connection, actor, moment, "cert_signed", node)
        return Made(now_so, issued, None)

    def _replace_certificate(self, connection: Connection, node: NodeRow, moment: int) -> None:
        """The groups have changed: the old certificate is blocked once the host has fetched the new one."""
        connection.execute(
            update(certificates)
            .where(certificates.c.id == node.certificate_id, certificates.c.replaced_at.is_(None))
            .values(replaced_at=moment)
        )
        issue_for(connection, self._vault, find(connection, node.network_id), node, moment, None)


def _visible(actor: Actor, moment: int) -> Any:
    """What holds for the nodes that the user may see."""
    own = select(permissions.c.network_id).where(permissions.c.user_id == actor.user_id)
    if not actor.system_admin:
        return nodes.c.network_id.in_(own)
    networks = own.union(granted_networks(actor, moment))
    return or_(nodes.c.network_id.in_(networks), nodes.c.id.in_(granted_nodes(actor, moment)))


def _changed_values(node: NodeRow, change: NodeChange) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "group_name": change.group,
        "is_lighthouse": change.is_lighthouse,
        "is_relay": change.is_relay,
        "public_endpoint": change.public_endpoint,
        "lighthouse_options": encode_options(change.options.lighthouse),
        "logging_options": encode_options(change.options.logging),
        "punchy_options": encode_options(change.options.punchy),
    }
    given = {
        name: value or None if isinstance(value, str) else value for name, value in wanted.items() if value is not None
    }
    return {name: value for name, value in given.items() if value != getattr(node, name)}


def _end_codes(connection: Connection, node_id: int, moment: int) -> None:
    """Whoever was given a code before may not become that node with what it is given now."""
    connection.execute(
        update(enrollment_codes)
        .where(
            enrollment_codes.c.node_id == node_id,
            enrollment_codes.c.used_at.is_(None),
            enrollment_codes.c.expires_at > moment,
        )
        .values(expires_at=moment)
    )


def _refuse_only_lighthouse(connection: Connection, node: NodeRow) -> None:
    another = select(nodes.c.id).where(
        nodes.c.network_id == node.network_id, nodes.c.is_lighthouse, nodes.c.id != node.id
    )
    if connection.execute(another.limit(1)).first() is None:
        raise Taken(ONLY_LIGHTHOUSE)
