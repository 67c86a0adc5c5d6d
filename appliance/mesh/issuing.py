"""Certificates for hosts: made, replaced, revoked; what is revoked reaches every host by the blocklist."""

from ipaddress import ip_network

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, bindparam, insert, select, update

from appliance.mesh import authorities
from appliance.mesh.certificates.authority import sign, to_pem
from appliance.mesh.certificates.model import Certificate, Details, Version
from appliance.mesh.errors import Invalid
from appliance.mesh.moments import DAY, SECOND
from appliance.mesh.store.tables import blocklist, certificates, networks
from appliance.mesh.subnets import interface_of
from appliance.mesh.vault import Vault

DEFAULT_DAYS = 365

_SAME = select(certificates.c.id).where(
    certificates.c.network_id == bindparam("network"), certificates.c.fingerprint == bindparam("given")
)
_INSERT = insert(certificates).returning(certificates.c.id)


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The host that a certificate is for."""

    network_id: int
    node_id: int
    subnet: str
    version: Version
    hostname: str
    ip_address: str
    group: str | None
    public_key: bytes


class Issued(msgspec.Struct, frozen=True):
    """A certificate that was made: its row's id, its text and that of its CA."""

    id: int
    certificate: str
    authority: str


def issue(connection: Connection, vault: Vault, subject: Subject, moment: int, days: int | None = None) -> Issued:
    """Sign a certificate that is valid for `days`: at most as long as its CA. Raises `Invalid`."""
    authority = authorities.current(connection, subject.network_id)
    expires_at = min(moment + DEFAULT_DAYS * DAY, authority.expires_at)
    if days is not None:
        expires_at = moment + days * DAY
        if expires_at > authority.expires_at:
            raise Invalid("duration_days", "the network's CA expires before that")
    details = Details(
        name=subject.hostname,
        networks=(interface_of(ip_network(subject.subnet), subject.ip_address),),
        groups=(subject.group,) if subject.group is not None else (),
        not_before=(moment - authorities.SKEW) // SECOND,
        not_after=expires_at // SECOND,
        public_key=subject.public_key,
        issuer=authority.fingerprint,
    )
    certificate = _sign_another(connection, details, vault.open_authority(authority.key_sealed), subject)
    text = to_pem(certificate)
    made = connection.execute(
        _INSERT,
        {
            "network_id": subject.network_id,
            "node_id": subject.node_id,
            "authority_id": authority.id,
            "fingerprint": certificate.fingerprint,
            "certificate": text,
            "ip_address": subject.ip_address,
            "issued_at": moment,
            "expires_at": expires_at,
        },
    )
    return Issued(int(made.scalar_one()), text, authority.certificate)


def _sign_another(connection: Connection, details: Details, key: Ed25519PrivateKey, subject: Subject) -> Certificate:
    """
    Sign a certificate that differs from all before it.

    What is signed twice in one second would be one certificate, and revoking the first would revoke the second. So it
    begins a second later: still long ago.
    """
    while True:
        certificate = sign(details, key, subject.version)
        given = {"network": subject.network_id, "given": certificate.fingerprint}
        if connection.execute(_SAME, given).first() is None:
            return certificate
        details = msgspec.structs.replace(details, not_before=details.not_before + 1)


def block_all(connection: Connection, network_id: int, node_id: int, moment: int, *, but: int | None = None) -> None:
    """Revoke all unexpired certificates of a node, `but` one, and put them on the network's blocklist."""
    which = (
        certificates.c.node_id == node_id,
        certificates.c.expires_at > moment,
        certificates.c.id != (0 if but is None else but),
    )
    connection.execute(
        update(certificates).where(*which, certificates.c.revoked_at.is_(None)).values(revoked_at=moment)
    )
    block(connection, network_id, list(connection.execute(select(certificates.c.id).where(*which)).scalars()))


def block(connection: Connection, network_id: int, ids: list[int]) -> None:
    """Put certificates on the network's blocklist, as far as they are not there yet."""
    listed = select(blocklist.c.fingerprint).where(blocklist.c.network_id == network_id)
    wanted = select(certificates.c.network_id, certificates.c.fingerprint, certificates.c.expires_at).where(
        certificates.c.id.in_(ids), certificates.c.fingerprint.not_in(listed)
    )
    added = connection.execute(insert(blocklist).from_select(["network_id", "fingerprint", "expires_at"], wanted))
    if added.rowcount:
        touch(connection, network_id)


def touch(connection: Connection, network_id: int) -> None:
    """Note that the configuration of every host of the network has changed."""
    connection.execute(update(networks).where(networks.c.id == network_id).values(version=networks.c.version + 1))
