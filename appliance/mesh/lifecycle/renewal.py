"""Certificates of hosts are renewed before they expire, and replaced ones end in time."""

from sqlalchemy import Connection, select

from appliance.mesh.actor import Actor
from appliance.mesh.issuing import block
from appliance.mesh.moments import DAY
from appliance.mesh.networks import find
from appliance.mesh.node_making import issue_for
from appliance.mesh.node_rows import find_node, record_node
from appliance.mesh.store.tables import authorities, certificates, nodes
from appliance.mesh.vault import Vault

REPLACED_FOR = DAY
"""How long a certificate counts whose groups were changed, where the host has not fetched the new one."""

SYSTEM = Actor(identifier="system")


def due(connection: Connection, moment: int, limit: int) -> list[int]:
    """
    The ids of nodes whose certificates have less than a third of their life left, or are of a CA that is no longer the
    network's; at most `limit`.

    Where the CA itself ends too soon a new certificate would be no better: that is left to the change of CAs.
    """
    signs = (authorities.c.id == certificates.c.authority_id) & (authorities.c.state == "current")
    ends_soon = (certificates.c.expires_at - moment) * 3 < certificates.c.expires_at - certificates.c.issued_at
    query = (
        select(nodes.c.id, certificates.c.expires_at, authorities.c.expires_at)
        .select_from(
            nodes.join(certificates, certificates.c.id == nodes.c.certificate_id).outerjoin(authorities, signs)
        )
        .where(ends_soon | authorities.c.id.is_(None))
        .order_by(certificates.c.expires_at)
        .limit(limit)
    )
    return [
        node_id
        for node_id, expires_at, authority_ends in connection.execute(query)
        if authority_ends is None or expires_at < authority_ends
    ]


def renew(connection: Connection, vault: Vault, node_ids: list[int], moment: int) -> None:
    """Issue certificates anew, for the same keys; the old ones are not blocked, they only end."""
    for node_id in node_ids:
        node = find_node(connection, node_id)
        issue_for(connection, vault, find(connection, node.network_id), node, moment, None)
        record_node(connection, SYSTEM, moment, "cert_signed", node, reason="renewal")


def end_replaced(connection: Connection, moment: int) -> None:
    """Block certificates that a change of groups replaced a day ago."""
    query = select(certificates.c.network_id, certificates.c.id).where(
        certificates.c.replaced_at <= moment - REPLACED_FOR,
        certificates.c.revoked_at.is_(None),
        certificates.c.expires_at > moment,
    )
    by_network: dict[int, list[int]] = {}
    for network_id, certificate_id in connection.execute(query):
        by_network.setdefault(network_id, []).append(certificate_id)
    for network_id, ids in by_network.items():
        block(connection, network_id, ids)
