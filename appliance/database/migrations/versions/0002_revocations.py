"""Signed tokens that were revoked before they expired."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "revocations",
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("revoked_at", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_revocations"),
        sqlite_with_rowid=False,
    )
