"""The CAs of a network: one that signs, and beside it those that are still or already trusted while CAs change."""

import msgspec
from sqlalchemy import Connection, bindparam, insert, select

from appliance.mesh.certificates.authority import make_authority, to_pem
from appliance.mesh.certificates.keys import new_signing_key
from appliance.mesh.certificates.model import Version
from appliance.mesh.moments import DAY, HOUR, SECOND
from appliance.mesh.store.rows import columns_of, to_struct
from appliance.mesh.store.tables import authorities
from appliance.mesh.vault import Vault

LIFETIME = 730 * DAY
SKEW = HOUR
"""How far a host's clock may be behind ours."""


class Authority(msgspec.Struct, frozen=True):
    """A CA: its certificate as PEM, its key sealed."""

    id: int
    certificate: str
    fingerprint: str
    key_sealed: bytes
    created_at: int
    expires_at: int


_CURRENT = select(*columns_of(authorities, Authority)).where(
    authorities.c.network_id == bindparam("network"), authorities.c.state == "current"
)


def create(
    connection: Connection, vault: Vault, network_id: int, name: str, version: Version, moment: int, state: str
) -> int:
    """Make a CA for a network, in `state`; return its id."""
    key = new_signing_key()
    expires_at = moment + LIFETIME
    certificate = make_authority(
        name, key, version, not_before=(moment - SKEW) // SECOND, not_after=expires_at // SECOND
    )
    made = connection.execute(
        insert(authorities)
        .values(
            network_id=network_id,
            state=state,
            certificate=to_pem(certificate),
            fingerprint=certificate.fingerprint,
            key_sealed=vault.seal_authority(key),
            created_at=moment,
            changed_at=moment,
            expires_at=expires_at,
        )
        .returning(authorities.c.id)
    )
    return int(made.scalar_one())


def current(connection: Connection, network_id: int) -> Authority:
    """The CA that signs for a network; every network has one."""
    return to_struct(connection.execute(_CURRENT, {"network": network_id}).one(), Authority)


def trusted(connection: Connection, network_id: int) -> list[str]:
    """The certificates, as PEM, of all CAs that the network's hosts shall trust, the oldest first."""
    query = (
        select(authorities.c.certificate)
        .where(authorities.c.network_id == network_id, authorities.c.state != "retired")
        .order_by(authorities.c.id)
    )
    return list(connection.execute(query).scalars())
