"""
A network's CA changes in steps, none of which cuts a host off that polls now and then: the next CA is trusted beside
the one that signs; then it signs, and hosts get certificates of it; at last the old one is trusted no longer.
"""

from sqlalchemy import ColumnElement, Connection, func, select, update

from appliance.mesh import authorities as cas
from appliance.mesh.audit import Event, record
from appliance.mesh.issuing import DEFAULT_DAYS, touch
from appliance.mesh.lifecycle.renewal import SYSTEM
from appliance.mesh.moments import DAY
from appliance.mesh.store.tables import authorities, certificates, networks, nodes
from appliance.mesh.vault import Vault

SPREAD = 14 * DAY
"""How long hosts get to fetch what they shall trust, before the next step."""

BEGIN = DEFAULT_DAYS * DAY + 2 * SPREAD
"""What a CA must have left to live, so that certificates of full length can be had of it."""


def advance(connection: Connection, vault: Vault, moment: int) -> None:
    """Take the step that is due in each network."""
    _drop_old(connection, moment)
    _promote_next(connection, moment)
    _announce_next(connection, vault, moment)


def begin(connection: Connection, vault: Vault, network_id: int, moment: int) -> None:
    """Announce a new CA for a network that has none announced."""
    there = select(authorities.c.id).where(authorities.c.network_id == network_id, authorities.c.state == "next")
    if connection.execute(there).first() is not None:
        return
    network = connection.execute(
        select(networks.c.name, networks.c.certificate_version).where(networks.c.id == network_id)
    ).one()
    cas.create(connection, vault, network_id, network.name, network.certificate_version, moment, "next")
    _changed(connection, network_id, moment, "announced")


def _announce_next(connection: Connection, vault: Vault, moment: int) -> None:
    ending = select(authorities.c.network_id).where(
        authorities.c.state == "current", authorities.c.expires_at < moment + BEGIN
    )
    for network_id in connection.execute(ending).scalars().all():
        begin(connection, vault, network_id, moment)


def _promote_next(connection: Connection, moment: int) -> None:
    ready = select(authorities.c.network_id, authorities.c.id).where(
        authorities.c.state == "next", authorities.c.changed_at <= moment - SPREAD
    )
    for network_id, authority_id in connection.execute(ready).all():
        _set_state(connection, moment, "old", authorities.c.network_id == network_id, authorities.c.state == "current")
        _set_state(connection, moment, "current", authorities.c.id == authority_id)
        _changed(connection, network_id, moment, "signing")


def _drop_old(connection: Connection, moment: int) -> None:
    """An old CA goes when no host has a certificate of it any more, or when it has expired."""
    used = (
        select(func.count())
        .select_from(nodes.join(certificates, certificates.c.id == nodes.c.certificate_id))
        .where(certificates.c.authority_id == authorities.c.id)
        .scalar_subquery()
    )
    old = select(authorities.c.network_id, authorities.c.id).where(
        authorities.c.state == "old",
        authorities.c.changed_at <= moment - SPREAD,
        (used == 0) | (authorities.c.expires_at <= moment),
    )
    for network_id, authority_id in connection.execute(old).all():
        _set_state(connection, moment, "retired", authorities.c.id == authority_id)
        _changed(connection, network_id, moment, "dropped")


def _set_state(connection: Connection, moment: int, state: str, *which: ColumnElement[bool]) -> None:
    connection.execute(update(authorities).where(*which).values(state=state, changed_at=moment))


def _changed(connection: Connection, network_id: int, moment: int, step: str) -> None:
    touch(connection, network_id)
    event = Event(action="network_updated", resource_type="network", resource_id=network_id, details={"ca": step})
    record(connection, SYSTEM, moment, event)
