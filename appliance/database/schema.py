"""
The tables, in SQLAlchemy Core, for the statements to be made of.

Whoever changes them changes `schema.sql` as well, which makes new files without SQLAlchemy and has the triggers,
and adds a migration with its revision at the end of `migrate.REVISIONS`; tests hold all three together.
"""

from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

NAMING: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

metadata: Final = MetaData(naming_convention=NAMING)

audit: Final = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("occurred_at", String(27), nullable=False),
    Column("surface", Text, nullable=False),
    Column("actor_kind", Text, nullable=False),
    Column("actor_name", Text, nullable=False),
    Column("address", Text),
    Column("action", Text, nullable=False),
    Column("object", Text),
    Column("outcome", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    CheckConstraint("id > 0", name="id_positive"),
    Index(None, "surface", "id"),
)

audit_anchor: Final = Table(
    "audit_anchor",
    metadata,
    Column("through_id", Integer, primary_key=True, autoincrement=False),
    Column("hash", String(64), nullable=False),
    Column("pruned_at", String(27), nullable=False),
)
"""Up to where the audit log was pruned, with the hash of the last row that went; the newest row counts."""

nonces: Final = Table(
    "nonces",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("nonce", Text, primary_key=True),
    Column("expires_at", Integer, nullable=False),
    Index(None, "expires_at"),
    sqlite_with_rowid=False,
)

revocations: Final = Table(
    "revocations",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("revoked_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""Signed tokens that count no more: one, a session's, or all that a user had at `revoked_at` (in milliseconds)."""

api_tokens: Final = Table(
    "api_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("username", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer),
    Column("last_used_at", Integer),
    UniqueConstraint("hash"),
    sqlite_with_rowid=False,
)
"""`hash` is that of the token's text, SHA-256 in hex."""

rpc_sessions: Final = Table(
    "rpc_sessions",
    metadata,
    Column("jti", Text, primary_key=True),
    Column("username", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("credential", Text, nullable=False),
    Column("pending", Integer, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""Live tokens, by their id; `pending` (1) ones wait for the second factor."""

rpc_second_factors: Final = Table(
    "rpc_second_factors",
    metadata,
    Column("username", Text, primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    Column("enabled_at", Integer),
    Column("last_step", Integer, nullable=False),
    Column("codes_shown_at", Integer),
    sqlite_with_rowid=False,
)
"""`secret` is encrypted; `last_step` is the time step of the last code that was accepted."""

rpc_recovery_codes: Final = Table(
    "rpc_recovery_codes",
    metadata,
    Column("username", Text, primary_key=True),
    Column("hash", String(64), primary_key=True),
    sqlite_with_rowid=False,
)
"""Codes that have not been used yet."""

rpc_jobs: Final = Table(
    "rpc_jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("username", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("progress", Integer),
    Column("created_at", Integer, nullable=False),
    Column("ended_at", Integer),
    sqlite_with_rowid=False,
)
"""Calls that were asked to run as jobs; the result of one that has ended is in a file."""
