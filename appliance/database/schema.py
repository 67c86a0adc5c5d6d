"""
The tables, in SQLAlchemy Core.

Whoever changes them adds a migration and its revision at the end of `REVISIONS`; a test holds both together.
"""

from typing import Final

from sqlalchemy import (
    DDL,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    event,
)

REVISIONS: Final = ("0001",)
"""Every revision of the schema from the first to the one described here."""

HEAD: Final = REVISIONS[-1]

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

revision: Final = Table(
    "alembic_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Alembic's own table, declared here so that a new file needs no Alembic."""

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

# The log is append-only: a row may go only when an anchor holds its place in the chain, and an anchor may
# only name a row that is there. INSERT is watched as well: INSERT OR REPLACE deletes without firing a
# trigger.
TRIGGERS: Final = (
    """CREATE TRIGGER audit_ordered BEFORE INSERT ON audit
        WHEN NEW.id <= (SELECT coalesce(max(id), 0) FROM audit)
        BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END""",
    """CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END""",
    """CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
        WHEN OLD.id > (SELECT coalesce(max(through_id), 0) FROM audit_anchor)
        BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END""",
    """CREATE TRIGGER audit_anchor_true BEFORE INSERT ON audit_anchor
        WHEN NOT EXISTS (SELECT 1 FROM audit WHERE id = NEW.through_id AND hash = NEW.hash)
        OR NEW.through_id <= (SELECT coalesce(max(through_id), 0) FROM audit_anchor)
        BEGIN SELECT RAISE(ABORT, 'an anchor names a row of audit'); END""",
    """CREATE TRIGGER audit_anchor_no_update BEFORE UPDATE ON audit_anchor
        BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END""",
    """CREATE TRIGGER audit_anchor_no_delete BEFORE DELETE ON audit_anchor
        BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END""",
)
for _statement in TRIGGERS:
    event.listen(metadata, "after_create", DDL(_statement).execute_if(dialect="sqlite"))
