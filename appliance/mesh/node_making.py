"""Making a node, and giving one a certificate, inside the transaction of whoever has asked whether it may be."""

from ipaddress import ip_network

import msgspec
from sqlalchemy import Connection, insert, select

from appliance.mesh.actor import Actor
from appliance.mesh.addresses import choose
from appliance.mesh.certificates.keys import HostKey
from appliance.mesh.errors import Taken, Unacceptable
from appliance.mesh.issuing import Issued, Subject, issue, touch
from appliance.mesh.networks import NetworkRow, find
from appliance.mesh.node_options import NodeOptions, encode_options
from appliance.mesh.node_rows import PENDING, NodeRow, record_node, update_node
from appliance.mesh.store.rows import columns_of, to_struct
from appliance.mesh.store.tables import nodes
from appliance.mesh.subnets import address_of
from appliance.mesh.vault import Vault

NAME_TAKEN = "A node with this name already exists in the network"
FIRST_IS_LIGHTHOUSE = "The first node of a network must be a lighthouse"


class NewNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node to be made. `public_key` None: the pair is made here. `is_lighthouse` None leaves it to the rule."""

    name: str
    group: str | None = None
    suggested_ip: str | None = None
    duration_days: int | None = None
    is_lighthouse: bool | None = None
    is_relay: bool = False
    public_endpoint: str | None = None
    options: NodeOptions = NodeOptions()


class Made(msgspec.Struct, frozen=True):
    """A node with its certificate and, where the pair was made here, its private key."""

    node: NodeRow
    issued: Issued
    key: HostKey | None


def create_in(
    connection: Connection,
    vault: Vault,
    actor: Actor,
    moment: int,
    network_id: int,
    wanted: NewNode,
    key: HostKey | bytes,
) -> Made:
    """Make a node inside a transaction, whoever asks, with a pair of keys or the public one alone."""
    network = find(connection, network_id)
    is_first = connection.execute(select(nodes.c.id).where(nodes.c.network_id == network_id).limit(1)).first() is None
    if is_first and wanted.is_lighthouse is False:
        raise Unacceptable(FIRST_IS_LIGHTHOUSE)
    same_name = select(nodes.c.id).where(nodes.c.network_id == network_id, nodes.c.hostname == wanted.name)
    if connection.execute(same_name).first() is not None:
        raise Taken(NAME_TAKEN)
    subnet = ip_network(network.subnet)
    number = choose(connection, network_id, subnet, wanted.suggested_ip)
    is_lighthouse = bool(wanted.is_lighthouse) or is_first
    made = connection.execute(
        insert(nodes)
        .values(
            network_id=network_id,
            hostname=wanted.name,
            ip_address=str(address_of(subnet, number)),
            host_number=number,
            group_name=wanted.group or None,
            is_lighthouse=is_lighthouse,
            is_relay=wanted.is_relay,
            public_endpoint=wanted.public_endpoint or None,
            lighthouse_options=encode_options(wanted.options.lighthouse),
            logging_options=encode_options(wanted.options.logging),
            punchy_options=encode_options(wanted.options.punchy),
            status=PENDING,
            public_key=key if isinstance(key, bytes) else key.public,
            key_sealed=None if isinstance(key, bytes) else vault.seal_host_key(key.private.reveal()),
            created_at=moment,
        )
        .returning(*columns_of(nodes, NodeRow))
    )
    node = to_struct(made.one(), NodeRow)
    issued = issue_for(connection, vault, network, node, moment, wanted.duration_days)
    if is_lighthouse or wanted.is_relay:
        touch(connection, network_id)
    record_node(connection, actor, moment, "node_created", node, ip_address=node.ip_address)
    record_node(connection, actor, moment, "cert_signed", node)
    return Made(node, issued, None if isinstance(key, bytes) else key)


def issue_for(
    connection: Connection, vault: Vault, network: NetworkRow, node: NodeRow, moment: int, days: int | None
) -> Issued:
    """Issue the certificate that a node has from now on."""
    if node.ip_address is None or node.public_key is None:
        raise ValueError(f"node {node.id} has no address or no key")
    subject = Subject(
        network_id=network.id,
        node_id=node.id,
        subnet=network.subnet,
        version=network.certificate_version,
        hostname=node.hostname,
        ip_address=node.ip_address,
        group=node.group_name,
        public_key=node.public_key,
    )
    issued = issue(connection, vault, subject, moment, days)
    update_node(connection, node.id, certificate_id=issued.id)
    return issued
