-- The tables of the mesh; tests hold it equal to what the migrations make and to `tables.py`.

CREATE TABLE mesh_alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT mesh_alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE mesh_audit (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    occurred_at BIGINT NOT NULL,
    action VARCHAR(64) NOT NULL,
    actor_user_id INTEGER,
    actor_identifier TEXT,
    actor_email TEXT,
    resource_type VARCHAR(32),
    resource_id INTEGER,
    result VARCHAR(16) NOT NULL,
    details TEXT NOT NULL,
    client_ip VARCHAR(64)
);

CREATE INDEX ix_mesh_audit_action ON mesh_audit (action);

CREATE TABLE mesh_networks (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    subnet VARCHAR(64) NOT NULL,
    certificate_version INTEGER NOT NULL,
    auto_approve_nodes BOOLEAN DEFAULT 0 NOT NULL,
    version INTEGER DEFAULT '1' NOT NULL,
    first_free BIGINT DEFAULT '1' NOT NULL,
    dns_domain TEXT,
    dns_enabled BOOLEAN DEFAULT 0 NOT NULL,
    dns_upstream TEXT DEFAULT '[]' NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT uq_mesh_networks_name UNIQUE (name)
);

CREATE TABLE mesh_revoked_tokens (
    jti VARCHAR(64) NOT NULL,
    expires_at BIGINT NOT NULL,
    CONSTRAINT pk_mesh_revoked_tokens PRIMARY KEY (jti)
);

CREATE INDEX ix_mesh_revoked_tokens_expires_at ON mesh_revoked_tokens (expires_at);

CREATE TABLE mesh_users (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    sub TEXT NOT NULL,
    email TEXT,
    name TEXT,
    system_role VARCHAR(16) NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT uq_mesh_users_sub UNIQUE (sub)
);

CREATE INDEX ix_mesh_users_email ON mesh_users (email);

CREATE TABLE mesh_authorities (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    network_id INTEGER NOT NULL,
    state VARCHAR(16) NOT NULL,
    certificate TEXT NOT NULL,
    fingerprint VARCHAR(64) NOT NULL,
    key_sealed BLOB NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    CONSTRAINT ck_mesh_authorities_state_known CHECK (state IN ('current', 'next', 'old', 'retired')),
    CONSTRAINT fk_mesh_authorities_network_id FOREIGN KEY(network_id) REFERENCES mesh_networks (id) ON DELETE CASCADE
);

CREATE INDEX ix_mesh_authorities_network_id ON mesh_authorities (network_id);

CREATE TABLE mesh_blocklist (
    network_id INTEGER NOT NULL,
    fingerprint VARCHAR(64) NOT NULL,
    expires_at BIGINT NOT NULL,
    CONSTRAINT pk_mesh_blocklist PRIMARY KEY (network_id, fingerprint),
    CONSTRAINT fk_mesh_blocklist_network_id FOREIGN KEY(network_id) REFERENCES mesh_networks (id) ON DELETE CASCADE
);

CREATE INDEX ix_mesh_blocklist_expires_at ON mesh_blocklist (expires_at);

CREATE TABLE mesh_challenges (
    challenge_hash VARCHAR(64) NOT NULL,
    user_id INTEGER NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    CONSTRAINT pk_mesh_challenges PRIMARY KEY (challenge_hash),
    CONSTRAINT fk_mesh_challenges_user_id FOREIGN KEY(user_id) REFERENCES mesh_users (id) ON DELETE CASCADE
);

CREATE INDEX ix_mesh_challenges_expires_at ON mesh_challenges (expires_at);

CREATE TABLE mesh_group_firewalls (
    network_id INTEGER NOT NULL,
    group_name TEXT NOT NULL,
    inbound_rules TEXT NOT NULL,
    version INTEGER DEFAULT '1' NOT NULL,
    CONSTRAINT pk_mesh_group_firewalls PRIMARY KEY (network_id, group_name),
    CONSTRAINT fk_mesh_group_firewalls_network_id FOREIGN KEY(network_id) REFERENCES mesh_networks (id) ON DELETE CASCADE
);

CREATE TABLE mesh_invitations (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    network_id INTEGER NOT NULL,
    email TEXT NOT NULL,
    invited_by INTEGER NOT NULL,
    token_hash VARCHAR(64) NOT NULL,
    token_sealed BLOB NOT NULL,
    role VARCHAR(16) NOT NULL,
    can_manage_nodes BOOLEAN DEFAULT 0 NOT NULL,
    can_invite_users BOOLEAN DEFAULT 0 NOT NULL,
    can_manage_firewall BOOLEAN DEFAULT 0 NOT NULL,
    status VARCHAR(16) NOT NULL,
    email_status VARCHAR(16) NOT NULL,
    email_error TEXT,
    email_sent_at BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    accepted_at BIGINT,
    CONSTRAINT fk_mesh_invitations_invited_by FOREIGN KEY(invited_by) REFERENCES mesh_users (id) ON DELETE CASCADE,
    CONSTRAINT fk_mesh_invitations_network_id FOREIGN KEY(network_id) REFERENCES mesh_networks (id) ON DELETE CASCADE,
    CONSTRAINT uq_mesh_invitations_token_hash UNIQUE (token_hash)
);

CREATE INDEX ix_mesh_invitations_network_id ON mesh_invitations (network_id);

CREATE TABLE mesh_nodes (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    network_id INTEGER NOT NULL,
    hostname TEXT NOT NULL,
    ip_address VARCHAR(64),
    host_number BIGINT,
    group_name TEXT,
    is_lighthouse BOOLEAN DEFAULT 0 NOT NULL,
    is_relay BOOLEAN DEFAULT 0 NOT NULL,
    public_endpoint TEXT,
    lighthouse_options TEXT,
    logging_options TEXT,
    punchy_options TEXT,
    status VARCHAR(16) NOT NULL,
    public_key BLOB,
    key_sealed BLOB,
    certificate_id INTEGER,
    version INTEGER DEFAULT '1' NOT NULL,
    token_version INTEGER DEFAULT '1' NOT NULL,
    last_seen BIGINT,
    first_polled_at BIGINT,
    created_at BIGINT NOT NULL,
    CONSTRAINT fk_mesh_nodes_network_id FOREIGN KEY(network_id) REFERENCES mesh_networks (id) ON DELETE CASCADE,
    CONSTRAINT uq_mesh_nodes_network_id_host_number UNIQUE (network_id, host_number),
    CONSTRAINT uq_mesh_nodes_network_id_hostname UNIQUE (network_id, hostname),
    CONSTRAINT uq_mesh_nodes_network_id_ip_address UNIQUE (network_id, ip_address)
);

CREATE TABLE mesh_permissions (
    network_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    role VARCHAR(16) NOT NULL,
    can_manage_nodes BOOLEAN DEFAULT 0 NOT NULL,
    can_invite_users BOOLEAN DEFAULT 0 NOT NULL,
    can_manage_firewall BOOLEAN DEFAULT 0 NOT NULL,
    invited_by INTEGER,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_mesh_permissions PRIMARY KEY (network_id, user_id),
    CONSTRAINT fk_mesh_permissions_invited_by FOREIGN KEY(invited_by) REFERENCES mesh_users (id) ON DELETE SET NULL,
    CONSTRAINT fk_mesh_permissions_network_id FOREIGN KEY(network_id) REFERENCES mesh_networks (id) ON DELETE CASCADE,
    CONSTRAINT fk_mesh_permissions_user_id FOREIGN KEY(user_id) REFERENCES mesh_users (id) ON DELETE CASCADE
);

CREATE INDEX ix_mesh_permissions_user_id ON mesh_permissions (user_id);

CREATE TABLE mesh_access_grants (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    admin_user_id INTEGER NOT NULL,
    granted_by INTEGER NOT NULL,
    network_id INTEGER NOT NULL,
    node_id INTEGER,
    reason TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    CONSTRAINT fk_mesh_access_grants_admin_user_id FOREIGN KEY(admin_user_id) REFERENCES mesh_users (id) ON DELETE CASCADE,
    CONSTRAINT fk_mesh_access_grants_granted_by FOREIGN KEY(granted_by) REFERENCES mesh_users (id) ON DELETE CASCADE,
    CONSTRAINT fk_mesh_access_grants_network_id FOREIGN KEY(network_id) REFERENCES mesh_networks (id) ON DELETE CASCADE,
    CONSTRAINT fk_mesh_access_grants_node_id FOREIGN KEY(node_id) REFERENCES mesh_nodes (id) ON DELETE CASCADE
);

CREATE INDEX ix_mesh_access_grants_admin_user_id ON mesh_access_grants (admin_user_id);

CREATE INDEX ix_mesh_access_grants_granted_by ON mesh_access_grants (granted_by);

CREATE TABLE mesh_certificates (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    network_id INTEGER NOT NULL,
    node_id INTEGER NOT NULL,
    authority_id INTEGER NOT NULL,
    fingerprint VARCHAR(64) NOT NULL,
    certificate TEXT NOT NULL,
    ip_address VARCHAR(64) NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    replaced_at BIGINT,
    CONSTRAINT fk_mesh_certificates_authority_id FOREIGN KEY(authority_id) REFERENCES mesh_authorities (id),
    CONSTRAINT fk_mesh_certificates_network_id FOREIGN KEY(network_id) REFERENCES mesh_networks (id) ON DELETE CASCADE,
    CONSTRAINT fk_mesh_certificates_node_id FOREIGN KEY(node_id) REFERENCES mesh_nodes (id) ON DELETE CASCADE,
    CONSTRAINT uq_mesh_certificates_network_id_fingerprint UNIQUE (network_id, fingerprint)
);

CREATE INDEX ix_mesh_certificates_expires_at ON mesh_certificates (expires_at);

CREATE INDEX ix_mesh_certificates_node_id ON mesh_certificates (node_id);

CREATE TABLE mesh_dns_aliases (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    network_id INTEGER NOT NULL,
    node_id INTEGER NOT NULL,
    alias TEXT NOT NULL,
    CONSTRAINT fk_mesh_dns_aliases_network_id FOREIGN KEY(network_id) REFERENCES mesh_networks (id) ON DELETE CASCADE,
    CONSTRAINT fk_mesh_dns_aliases_node_id FOREIGN KEY(node_id) REFERENCES mesh_nodes (id) ON DELETE CASCADE,
    CONSTRAINT uq_mesh_dns_aliases_network_id_alias UNIQUE (network_id, alias)
);

CREATE TABLE mesh_enrollment_codes (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    node_id INTEGER NOT NULL,
    code_hash VARCHAR(64) NOT NULL,
    created_by INTEGER,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    CONSTRAINT fk_mesh_enrollment_codes_created_by FOREIGN KEY(created_by) REFERENCES mesh_users (id) ON DELETE SET NULL,
    CONSTRAINT fk_mesh_enrollment_codes_node_id FOREIGN KEY(node_id) REFERENCES mesh_nodes (id) ON DELETE CASCADE,
    CONSTRAINT uq_mesh_enrollment_codes_code_hash UNIQUE (code_hash)
);

CREATE INDEX ix_mesh_enrollment_codes_node_id ON mesh_enrollment_codes (node_id);

CREATE TABLE mesh_node_requests (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    network_id INTEGER NOT NULL,
    requested_by INTEGER NOT NULL,
    hostname TEXT NOT NULL,
    groups TEXT NOT NULL,
    is_lighthouse BOOLEAN DEFAULT 0 NOT NULL,
    is_relay BOOLEAN DEFAULT 0 NOT NULL,
    status VARCHAR(16) NOT NULL,
    rejection_reason TEXT,
    created_node_id INTEGER,
    processed_by INTEGER,
    created_at BIGINT NOT NULL,
    processed_at BIGINT,
    CONSTRAINT fk_mesh_node_requests_created_node_id FOREIGN KEY(created_node_id) REFERENCES mesh_nodes (id) ON DELETE SET NULL,
    CONSTRAINT fk_mesh_node_requests_network_id FOREIGN KEY(network_id) REFERENCES mesh_networks (id) ON DELETE CASCADE,
    CONSTRAINT fk_mesh_node_requests_processed_by FOREIGN KEY(processed_by) REFERENCES mesh_users (id) ON DELETE SET NULL,
    CONSTRAINT fk_mesh_node_requests_requested_by FOREIGN KEY(requested_by) REFERENCES mesh_users (id) ON DELETE CASCADE
);

CREATE INDEX ix_mesh_node_requests_network_id ON mesh_node_requests (network_id);

CREATE INDEX ix_mesh_node_requests_requested_by ON mesh_node_requests (requested_by);

INSERT INTO mesh_alembic_version VALUES ('0001');
