"""What the rpc surface keeps: its sessions, second factors and calls that run as jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "rpc_sessions",
        sa.Column("jti", sa.Text, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("credential", sa.Text, nullable=False),
        sa.Column("pending", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("jti", name="pk_rpc_sessions"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rpc_second_factors",
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("enabled_at", sa.Integer),
        sa.Column("last_step", sa.Integer, nullable=False),
        sa.Column("codes_shown_at", sa.Integer),
        sa.PrimaryKeyConstraint("username", name="pk_rpc_second_factors"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rpc_recovery_codes",
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("username", "hash", name="pk_rpc_recovery_codes"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rpc_jobs",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("object", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("progress", sa.Integer),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("ended_at", sa.Integer),
        sa.PrimaryKeyConstraint("id", name="pk_rpc_jobs"),
        sqlite_with_rowid=False,
    )
