"""The audit log with its anchors, and the nonces that were used."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables, and the triggers that keep the log append-only."""
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("occurred_at", sa.String(27), nullable=False),
        sa.Column("surface", sa.Text, nullable=False),
        sa.Column("actor_kind", sa.Text, nullable=False),
        sa.Column("actor_name", sa.Text, nullable=False),
        sa.Column("address", sa.Text),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("object", sa.Text),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
        sa.CheckConstraint("id > 0", name="ck_audit_id_positive"),
    )
    op.create_index("ix_audit_surface_id", "audit", ["surface", "id"])
    op.create_table(
        "audit_anchor",
        sa.Column("through_id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("pruned_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("through_id", name="pk_audit_anchor"),
    )
    op.create_table(
        "nonces",
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("nonce", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("scope", "nonce", name="pk_nonces"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_nonces_expires_at", "nonces", ["expires_at"])
    for trigger in TRIGGERS:
        op.execute(trigger)


TRIGGERS = (
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
