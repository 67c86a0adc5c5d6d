"""The tables of the mesh."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "mesh_audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("actor_user_id", sa.Integer(), nullable=True),
        sa.Column("actor_identifier", sa.Text(), nullable=True),
        sa.Column("actor_email", sa.Text(), nullable=True),
        sa.Column("resource_type", sa.String(length=32), nullable=True),
        sa.Column("resource_id", sa.Integer(), nullable=True),
        sa.Column("result", sa.String(length=16), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("client_ip", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mesh_audit")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_mesh_audit_action"), "mesh_audit", ["action"], unique=False)
    op.create_table(
        "mesh_networks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("subnet", sa.String(length=64), nullable=False),
        sa.Column("certificate_version", sa.Integer(), nullable=False),
        sa.Column("auto_approve_nodes", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("first_free", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("dns_domain", sa.Text(), nullable=True),
        sa.Column("dns_enabled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("dns_upstream", sa.Text(), server_default="[]", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mesh_networks")),
        sa.UniqueConstraint("name", name=op.f("uq_mesh_networks_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "mesh_revoked_tokens",
        sa.Column("jti", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("jti", name=op.f("pk_mesh_revoked_tokens")),
    )
    op.create_index(op.f("ix_mesh_revoked_tokens_expires_at"), "mesh_revoked_tokens", ["expires_at"], unique=False)
    op.create_table(
        "mesh_users",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sub", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("system_role", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mesh_users")),
        sa.UniqueConstraint("sub", name=op.f("uq_mesh_users_sub")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_mesh_users_email"), "mesh_users", ["email"], unique=False)
    op.create_table(
        "mesh_authorities",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("network_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("key_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('current', 'next', 'old', 'retired')", name=op.f("ck_mesh_authorities_state_known")
        ),
        sa.ForeignKeyConstraint(
            ["network_id"], ["mesh_networks.id"], name=op.f("fk_mesh_authorities_network_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mesh_authorities")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_mesh_authorities_network_id"), "mesh_authorities", ["network_id"], unique=False)
    op.create_table(
        "mesh_blocklist",
        sa.Column("network_id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["network_id"], ["mesh_networks.id"], name=op.f("fk_mesh_blocklist_network_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("network_id", "fingerprint", name=op.f("pk_mesh_blocklist")),
    )
    op.create_index(op.f("ix_mesh_blocklist_expires_at"), "mesh_blocklist", ["expires_at"], unique=False)
    op.create_table(
        "mesh_challenges",
        sa.Column("challenge_hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["mesh_users.id"], name=op.f("fk_mesh_challenges_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("challenge_hash", name=op.f("pk_mesh_challenges")),
    )
    op.create_index(op.f("ix_mesh_challenges_expires_at"), "mesh_challenges", ["expires_at"], unique=False)
    op.create_table(
        "mesh_group_firewalls",
        sa.Column("network_id", sa.Integer(), nullable=False),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("inbound_rules", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(
            ["network_id"], ["mesh_networks.id"], name=op.f("fk_mesh_group_firewalls_network_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("network_id", "group_name", name=op.f("pk_mesh_group_firewalls")),
    )
    op.create_table(
        "mesh_invitations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("network_id", sa.Integer(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("invited_by", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("token_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("can_manage_nodes", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("can_invite_users", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("can_manage_firewall", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("email_status", sa.String(length=16), nullable=False),
        sa.Column("email_error", sa.Text(), nullable=True),
        sa.Column("email_sent_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["invited_by"], ["mesh_users.id"], name=op.f("fk_mesh_invitations_invited_by"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["network_id"], ["mesh_networks.id"], name=op.f("fk_mesh_invitations_network_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mesh_invitations")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_mesh_invitations_token_hash")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_mesh_invitations_network_id"), "mesh_invitations", ["network_id"], unique=False)
    op.create_table(
        "mesh_nodes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("network_id", sa.Integer(), nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("ip_address", sa.String(length=64), nullable=True),
        sa.Column("host_number", sa.BigInteger(), nullable=True),
        sa.Column("group_name", sa.Text(), nullable=True),
        sa.Column("is_lighthouse", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("is_relay", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("public_endpoint", sa.Text(), nullable=True),
        sa.Column("lighthouse_options", sa.Text(), nullable=True),
        sa.Column("logging_options", sa.Text(), nullable=True),
        sa.Column("punchy_options", sa.Text(), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=True),
        sa.Column("key_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("certificate_id", sa.Integer(), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("token_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=True),
        sa.Column("first_polled_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["network_id"], ["mesh_networks.id"], name=op.f("fk_mesh_nodes_network_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mesh_nodes")),
        sa.UniqueConstraint("network_id", "host_number", name=op.f("uq_mesh_nodes_network_id_host_number")),
        sa.UniqueConstraint("network_id", "hostname", name=op.f("uq_mesh_nodes_network_id_hostname")),
        sa.UniqueConstraint("network_id", "ip_address", name=op.f("uq_mesh_nodes_network_id_ip_address")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "mesh_permissions",
        sa.Column("network_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("can_manage_nodes", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("can_invite_users", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("can_manage_firewall", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("invited_by", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["invited_by"], ["mesh_users.id"], name=op.f("fk_mesh_permissions_invited_by"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["network_id"], ["mesh_networks.id"], name=op.f("fk_mesh_permissions_network_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["mesh_users.id"], name=op.f("fk_mesh_permissions_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("network_id", "user_id", name=op.f("pk_mesh_permissions")),
    )
    op.create_index(op.f("ix_mesh_permissions_user_id"), "mesh_permissions", ["user_id"], unique=False)
    op.create_table(
        "mesh_access_grants",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("admin_user_id", sa.Integer(), nullable=False),
        sa.Column("granted_by", sa.Integer(), nullable=False),
        sa.Column("network_id", sa.Integer(), nullable=False),
        sa.Column("node_id", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["admin_user_id"], ["mesh_users.id"], name=op.f("fk_mesh_access_grants_admin_user_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["granted_by"], ["mesh_users.id"], name=op.f("fk_mesh_access_grants_granted_by"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["network_id"], ["mesh_networks.id"], name=op.f("fk_mesh_access_grants_network_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["node_id"], ["mesh_nodes.id"], name=op.f("fk_mesh_access_grants_node_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mesh_access_grants")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_mesh_access_grants_admin_user_id"), "mesh_access_grants", ["admin_user_id"], unique=False)
    op.create_index(op.f("ix_mesh_access_grants_granted_by"), "mesh_access_grants", ["granted_by"], unique=False)
    op.create_table(
        "mesh_certificates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("network_id", sa.Integer(), nullable=False),
        sa.Column("node_id", sa.Integer(), nullable=False),
        sa.Column("authority_id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("ip_address", sa.String(length=64), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("replaced_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["authority_id"], ["mesh_authorities.id"], name=op.f("fk_mesh_certificates_authority_id")
        ),
        sa.ForeignKeyConstraint(
            ["network_id"], ["mesh_networks.id"], name=op.f("fk_mesh_certificates_network_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["node_id"], ["mesh_nodes.id"], name=op.f("fk_mesh_certificates_node_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mesh_certificates")),
        sa.UniqueConstraint("network_id", "fingerprint", name=op.f("uq_mesh_certificates_network_id_fingerprint")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_mesh_certificates_expires_at"), "mesh_certificates", ["expires_at"], unique=False)
    op.create_index(op.f("ix_mesh_certificates_node_id"), "mesh_certificates", ["node_id"], unique=False)
    op.create_table(
        "mesh_dns_aliases",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("network_id", sa.Integer(), nullable=False),
        sa.Column("node_id", sa.Integer(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["network_id"], ["mesh_networks.id"], name=op.f("fk_mesh_dns_aliases_network_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["node_id"], ["mesh_nodes.id"], name=op.f("fk_mesh_dns_aliases_node_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mesh_dns_aliases")),
        sa.UniqueConstraint("network_id", "alias", name=op.f("uq_mesh_dns_aliases_network_id_alias")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "mesh_enrollment_codes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("node_id", sa.Integer(), nullable=False),
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("created_by", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["created_by"], ["mesh_users.id"], name=op.f("fk_mesh_enrollment_codes_created_by"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["node_id"], ["mesh_nodes.id"], name=op.f("fk_mesh_enrollment_codes_node_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mesh_enrollment_codes")),
        sa.UniqueConstraint("code_hash", name=op.f("uq_mesh_enrollment_codes_code_hash")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_mesh_enrollment_codes_node_id"), "mesh_enrollment_codes", ["node_id"], unique=False)
    op.create_table(
        "mesh_node_requests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("network_id", sa.Integer(), nullable=False),
        sa.Column("requested_by", sa.Integer(), nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("groups", sa.Text(), nullable=False),
        sa.Column("is_lighthouse", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("is_relay", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("rejection_reason", sa.Text(), nullable=True),
        sa.Column("created_node_id", sa.Integer(), nullable=True),
        sa.Column("processed_by", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("processed_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["created_node_id"],
            ["mesh_nodes.id"],
            name=op.f("fk_mesh_node_requests_created_node_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["network_id"], ["mesh_networks.id"], name=op.f("fk_mesh_node_requests_network_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["processed_by"], ["mesh_users.id"], name=op.f("fk_mesh_node_requests_processed_by"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["requested_by"], ["mesh_users.id"], name=op.f("fk_mesh_node_requests_requested_by"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mesh_node_requests")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_mesh_node_requests_network_id"), "mesh_node_requests", ["network_id"], unique=False)
    op.create_index(op.f("ix_mesh_node_requests_requested_by"), "mesh_node_requests", ["requested_by"], unique=False)
