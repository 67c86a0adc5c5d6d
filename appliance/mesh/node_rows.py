"""A node as it is kept, and what every change of one has in common."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, bindparam, select, update

from appliance.mesh.actor import Actor
from appliance.mesh.audit import Event, record
from appliance.mesh.store.rows import columns_of, to_struct
from appliance.mesh.store.tables import certificates, nodes

PENDING, ACTIVE, REVOKED = "pending", "active", "revoked"


class NodeRow(msgspec.Struct, frozen=True):
    """A node as it is kept; options are JSON texts."""

    id: int
    network_id: int
    hostname: str
    ip_address: str | None
    host_number: int | None
    group_name: str | None
    is_lighthouse: bool
    is_relay: bool
    public_endpoint: str | None
    lighthouse_options: str | None
    logging_options: str | None
    punchy_options: str | None
    status: str
    public_key: bytes | None
    key_sealed: bytes | None
    certificate_id: int | None
    last_seen: int | None
    first_polled_at: int | None
    created_at: int


_FIND = select(*columns_of(nodes, NodeRow)).where(nodes.c.id == bindparam("node"))


class Node(msgspec.Struct, frozen=True):
    """A node, and the fingerprint of the certificate it has."""

    row: NodeRow
    fingerprint: str | None


def find_node(connection: Connection, node_id: int) -> NodeRow:
    """The node with that id, which is there."""
    row = connection.execute(_FIND, {"node": node_id}).one()
    return to_struct(row, NodeRow)


def select_nodes() -> Select[tuple[Any, ...]]:
    """All nodes, for `to_node`."""
    joined = nodes.outerjoin(certificates, certificates.c.id == nodes.c.certificate_id)
    return select(*columns_of(nodes, NodeRow), certificates.c.fingerprint).select_from(joined)


def to_node(row: Row[Any]) -> Node:
    """A row of `select_nodes`."""
    fields: tuple[Any, ...] = tuple(row)
    return Node(NodeRow(*fields[:-1]), fields[-1])


def update_node(connection: Connection, node_id: int, **values: Any) -> None:
    """Change a node's row; its configuration is another one then."""
    if values:
        values["version"] = nodes.c.version + 1
        connection.execute(update(nodes).where(nodes.c.id == node_id).values(**values))


def record_node(connection: Connection, actor: Actor, moment: int, action: str, node: NodeRow, **details: Any) -> None:
    """Write down what was done to a node."""
    details = {"hostname": node.hostname, "network_id": node.network_id, **details}
    record(connection, actor, moment, Event(action=action, resource_type="node", resource_id=node.id, details=details))
