"""
The mesh's tables, in SQLAlchemy Core; `history` says how they come into a database.

Whoever changes them changes `schema.sql` as well, which makes them in a new file without SQLAlchemy, and adds a
migration with its revision at the end of `history.REVISIONS`; tests hold all three together.

Ids are never given twice, on SQLite by AUTOINCREMENT. Moments are microseconds since 1970 in UTC. Options and rules
are JSON texts. What ends in `_sealed` is encrypted, what ends in `_hash` a keyed hash. `version` counts changes that a
node's configuration depends on.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from appliance.database.schema import NAMING

metadata: Final = MetaData(naming_convention=NAMING)


def _id() -> Column[int]:
    return Column("id", Integer, primary_key=True)


def _owner(name: str, table: str, *, nullable: bool = False) -> Column[int]:
    """A reference to a row with which this one goes."""
    return Column(name, Integer, ForeignKey(f"{table}.id", ondelete="CASCADE"), nullable=nullable)


def _mention(name: str, table: str) -> Column[int]:
    """A reference to a row that may go while this one stays."""
    return Column(name, Integer, ForeignKey(f"{table}.id", ondelete="SET NULL"))


def _moment(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=false())


def _counter(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="1")


users: Final = Table(
    "mesh_users",
    metadata,
    _id(),
    Column("sub", Text, nullable=False),
    Column("email", Text),
    Column("name", Text),
    Column("system_role", String(16), nullable=False),
    _moment("created_at"),
    UniqueConstraint("sub"),
    Index(None, "email"),
    sqlite_autoincrement=True,
)

networks: Final = Table(
    "mesh_networks",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("subnet", String(64), nullable=False),
    Column("certificate_version", Integer, nullable=False),
    _flag("auto_approve_nodes"),
    _counter("version"),
    Column("first_free", BigInteger, nullable=False, server_default="1"),
    Column("dns_domain", Text),
    _flag("dns_enabled"),
    Column("dns_upstream", Text, nullable=False, server_default="[]"),
    _moment("created_at"),
    UniqueConstraint("name"),
    sqlite_autoincrement=True,
)
"""No host number below `first_free` is free. `version` covers lighthouses, relays, CAs, the blocklist and DNS."""

authorities: Final = Table(
    "mesh_authorities",
    metadata,
    _id(),
    _owner("network_id", "mesh_networks"),
    Column("state", String(16), nullable=False),
    Column("certificate", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("key_sealed", LargeBinary, nullable=False),
    _moment("expires_at"),
    _moment("created_at"),
    _moment("changed_at"),
    Index(None, "network_id"),
    CheckConstraint("state IN ('current', 'next', 'old', 'retired')", name="state_known"),
    sqlite_autoincrement=True,
)
"""The CAs of a network: the `current` one signs; a `next` and an `old` one are trusted beside it while CAs change."""

permissions: Final = Table(
    "mesh_permissions",
    metadata,
    Column("network_id", Integer, ForeignKey("mesh_networks.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", Integer, ForeignKey("mesh_users.id", ondelete="CASCADE"), primary_key=True),
    Column("role", String(16), nullable=False),
    _flag("can_manage_nodes"),
    _flag("can_invite_users"),
    _flag("can_manage_firewall"),
    _mention("invited_by", "mesh_users"),
    _moment("created_at"),
    Index(None, "user_id"),
)

nodes: Final = Table(
    "mesh_nodes",
    metadata,
    _id(),
    _owner("network_id", "mesh_networks"),
    Column("hostname", Text, nullable=False),
    Column("ip_address", String(64)),
    Column("host_number", BigInteger),
    Column("group_name", Text),
    _flag("is_lighthouse"),
    _flag("is_relay"),
    Column("public_endpoint", Text),
    Column("lighthouse_options", Text),
    Column("logging_options", Text),
    Column("punchy_options", Text),
    Column("status", String(16), nullable=False),
    Column("public_key", LargeBinary),
    Column("key_sealed", LargeBinary),
    Column("certificate_id", Integer),
    _counter("version"),
    _counter("token_version"),
    _moment("last_seen", nullable=True),
    _moment("first_polled_at", nullable=True),
    _moment("created_at"),
    UniqueConstraint("network_id", "hostname"),
    UniqueConstraint("network_id", "ip_address"),
    UniqueConstraint("network_id", "host_number"),
    sqlite_autoincrement=True,
)
"""`host_number` is the address less the network's: what a free one is looked for by."""

certificates: Final = Table(
    "mesh_certificates",
    metadata,
    _id(),
    _owner("network_id", "mesh_networks"),
    _owner("node_id", "mesh_nodes"),
    Column("authority_id", Integer, ForeignKey("mesh_authorities.id"), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("certificate", Text, nullable=False),
    Column("ip_address", String(64), nullable=False),
    _moment("issued_at"),
    _moment("expires_at"),
    _moment("revoked_at", nullable=True),
    _moment("replaced_at", nullable=True),
    UniqueConstraint("network_id", "fingerprint"),
    Index(None, "node_id"),
    Index(None, "expires_at"),
    sqlite_autoincrement=True,
)
"""`replaced_at`: a change of groups made another; this one is blocked once that was fetched, or a day later."""

blocklist: Final = Table(
    "mesh_blocklist",
    metadata,
    Column("network_id", Integer, ForeignKey("mesh_networks.id", ondelete="CASCADE"), primary_key=True),
    Column("fingerprint", String(64), primary_key=True),
    _moment("expires_at"),
    Index(None, "expires_at"),
)
"""Certificates that no host may accept any more; they stay here after their nodes are gone, until they expire."""

firewalls: Final = Table(
    "mesh_group_firewalls",
    metadata,
    Column("network_id", Integer, ForeignKey("mesh_networks.id", ondelete="CASCADE"), primary_key=True),
    Column("group_name", Text, primary_key=True),
    Column("inbound_rules", Text, nullable=False),
    _counter("version"),
)

enrollment_codes: Final = Table(
    "mesh_enrollment_codes",
    metadata,
    _id(),
    _owner("node_id", "mesh_nodes"),
    Column("code_hash", String(64), nullable=False),
    _mention("created_by", "mesh_users"),
    _moment("created_at"),
    _moment("expires_at"),
    _moment("used_at", nullable=True),
    UniqueConstraint("code_hash"),
    Index(None, "node_id"),
    sqlite_autoincrement=True,
)

node_requests: Final = Table(
    "mesh_node_requests",
    metadata,
    _id(),
    _owner("network_id", "mesh_networks"),
    _owner("requested_by", "mesh_users"),
    Column("hostname", Text, nullable=False),
    Column("groups", Text, nullable=False),
    _flag("is_lighthouse"),
    _flag("is_relay"),
    Column("status", String(16), nullable=False),
    Column("rejection_reason", Text),
    _mention("created_node_id", "mesh_nodes"),
    _mention("processed_by", "mesh_users"),
    _moment("created_at"),
    _moment("processed_at", nullable=True),
    Index(None, "network_id"),
    Index(None, "requested_by"),
    sqlite_autoincrement=True,
)

access_grants: Final = Table(
    "mesh_access_grants",
    metadata,
    _id(),
    _owner("admin_user_id", "mesh_users"),
    _owner("granted_by", "mesh_users"),
    _owner("network_id", "mesh_networks"),
    _owner("node_id", "mesh_nodes", nullable=True),
    Column("reason", Text, nullable=False),
    _moment("created_at"),
    _moment("expires_at"),
    _moment("revoked_at", nullable=True),
    Index(None, "admin_user_id"),
    Index(None, "granted_by"),
    sqlite_autoincrement=True,
)
"""`network_id` is also there for a grant of one node."""

invitations: Final = Table(
    "mesh_invitations",
    metadata,
    _id(),
    _owner("network_id", "mesh_networks"),
    Column("email", Text, nullable=False),
    _owner("invited_by", "mesh_users"),
    Column("token_hash", String(64), nullable=False),
    Column("token_sealed", LargeBinary, nullable=False),
    Column("role", String(16), nullable=False),
    _flag("can_manage_nodes"),
    _flag("can_invite_users"),
    _flag("can_manage_firewall"),
    Column("status", String(16), nullable=False),
    Column("email_status", String(16), nullable=False),
    Column("email_error", Text),
    _moment("email_sent_at", nullable=True),
    _moment("created_at"),
    _moment("expires_at"),
    _moment("accepted_at", nullable=True),
    UniqueConstraint("token_hash"),
    Index(None, "network_id"),
    sqlite_autoincrement=True,
)

dns_aliases: Final = Table(
    "mesh_dns_aliases",
    metadata,
    _id(),
    _owner("network_id", "mesh_networks"),
    _owner("node_id", "mesh_nodes"),
    Column("alias", Text, nullable=False),
    UniqueConstraint("network_id", "alias"),
    sqlite_autoincrement=True,
)

challenges: Final = Table(
    "mesh_challenges",
    metadata,
    Column("challenge_hash", String(64), primary_key=True),
    _owner("user_id", "mesh_users"),
    _moment("expires_at"),
    _moment("used_at", nullable=True),
    Index(None, "expires_at"),
)
"""Re-authentications that were asked for; each opens one thing, once."""

revoked_tokens: Final = Table(
    "mesh_revoked_tokens",
    metadata,
    Column("jti", String(64), primary_key=True),
    _moment("expires_at"),
    Index(None, "expires_at"),
)

audit: Final = Table(
    "mesh_audit",
    metadata,
    _id(),
    _moment("occurred_at"),
    Column("action", String(64), nullable=False),
    Column("actor_user_id", Integer),
    Column("actor_identifier", Text),
    Column("actor_email", Text),
    Column("resource_type", String(32)),
    Column("resource_id", Integer),
    Column("result", String(16), nullable=False),
    Column("details", Text, nullable=False),
    Column("client_ip", String(64)),
    Index(None, "action"),
    sqlite_autoincrement=True,
)
"""Names no other table: its rows outlive what they tell of."""
