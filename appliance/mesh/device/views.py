"""Reads what configurations are made of."""

from typing import TypeVar

import msgspec
from sqlalchemy import Connection, or_, select

from appliance.mesh import authorities
from appliance.mesh.device.configuration import NetworkView, NodeView, Peer
from appliance.mesh.firewall_rules import InboundRule
from appliance.mesh.node_options import LighthouseOptions, LoggingOptions, PunchyOptions
from appliance.mesh.node_rows import NodeRow, find_node
from appliance.mesh.store.rows import to_structs
from appliance.mesh.store.tables import blocklist, certificates, firewalls, nodes
from appliance.mesh.vault import Vault

Options = TypeVar("Options", LighthouseOptions, LoggingOptions, PunchyOptions)

_decode_rules = msgspec.json.Decoder(list[InboundRule]).decode


def network_view(connection: Connection, network_id: int, moment: int) -> NetworkView:
    """What all hosts of a network have in common."""
    peers = (
        select(nodes.c.id, nodes.c.ip_address, nodes.c.public_endpoint, nodes.c.is_lighthouse, nodes.c.is_relay)
        .where(
            nodes.c.network_id == network_id,
            nodes.c.ip_address.is_not(None),
            or_(nodes.c.is_lighthouse, nodes.c.is_relay),
        )
        .order_by(nodes.c.id)
    )
    blocked = (
        select(blocklist.c.fingerprint)
        .where(blocklist.c.network_id == network_id, blocklist.c.expires_at > moment)
        .order_by(blocklist.c.fingerprint)
    )
    return NetworkView(
        authorities=authorities.trusted(connection, network_id),
        blocklist=list(connection.execute(blocked).scalars()),
        peers=to_structs(connection.execute(peers), Peer),
    )


def node_view(connection: Connection, vault: Vault, node_id: int) -> NodeView | None:
    """What is of one host alone; None for a node without a certificate."""
    node = find_node(connection, node_id)
    if node.certificate_id is None or node.ip_address is None:
        return None
    text = select(certificates.c.certificate).where(certificates.c.id == node.certificate_id)
    return NodeView(
        node_id=node.id,
        hostname=node.hostname,
        ip_address=node.ip_address,
        certificate=connection.execute(text).scalar_one(),
        private_key=None if node.key_sealed is None else vault.open_host_key(node.key_sealed),
        is_lighthouse=node.is_lighthouse,
        is_relay=node.is_relay,
        public_endpoint=node.public_endpoint,
        lighthouse=_options(node.lighthouse_options, LighthouseOptions),
        logging=_options(node.logging_options, LoggingOptions),
        punchy=_options(node.punchy_options, PunchyOptions),
        rules=_rules(connection, node),
    )


def _options(text: str | None, type: type[Options]) -> Options:
    return msgspec.json.decode(text or "{}", type=type)


def _rules(connection: Connection, node: NodeRow) -> list[InboundRule] | None:
    if node.group_name is None:
        return None
    kept = connection.execute(
        select(firewalls.c.inbound_rules).where(
            firewalls.c.network_id == node.network_id, firewalls.c.group_name == node.group_name
        )
    ).scalar()
    return None if kept is None else _decode_rules(kept)
