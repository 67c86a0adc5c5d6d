-- What a new file gets: the schema of `schema.py`, the triggers and the revision.
-- Tests hold it equal to the tables of `schema.py` and to what all migrations make.

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE audit (
    id INTEGER NOT NULL,
    occurred_at VARCHAR(27) NOT NULL,
    surface TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    address TEXT,
    action TEXT NOT NULL,
    object TEXT,
    outcome TEXT NOT NULL,
    details TEXT NOT NULL,
    previous_hash VARCHAR(64) NOT NULL,
    hash VARCHAR(64) NOT NULL,
    CONSTRAINT pk_audit PRIMARY KEY (id),
    CONSTRAINT ck_audit_id_positive CHECK (id > 0)
);

CREATE INDEX ix_audit_surface_id ON audit (surface, id);

-- Up to where the audit log was pruned, with the hash of the last row that went; the newest row counts.
CREATE TABLE audit_anchor (
    through_id INTEGER NOT NULL,
    hash VARCHAR(64) NOT NULL,
    pruned_at VARCHAR(27) NOT NULL,
    CONSTRAINT pk_audit_anchor PRIMARY KEY (through_id)
);

CREATE TABLE nonces (
    scope TEXT NOT NULL,
    nonce TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    CONSTRAINT pk_nonces PRIMARY KEY (scope, nonce)
) WITHOUT ROWID;

CREATE INDEX ix_nonces_expires_at ON nonces (expires_at);

CREATE TABLE revocations (
    subject TEXT NOT NULL,
    revoked_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    CONSTRAINT pk_revocations PRIMARY KEY (subject)
) WITHOUT ROWID;

-- The hash is that of the token's text, SHA-256 in hex.
CREATE TABLE api_tokens (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    username TEXT NOT NULL,
    hash VARCHAR(64) NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    CONSTRAINT pk_api_tokens PRIMARY KEY (id),
    CONSTRAINT uq_api_tokens_hash UNIQUE (hash)
) WITHOUT ROWID;

-- Live tokens of the rpc surface, by their id; pending (1) ones wait for the second factor.
CREATE TABLE rpc_sessions (
    jti TEXT NOT NULL,
    username TEXT NOT NULL,
    address TEXT NOT NULL,
    credential TEXT NOT NULL,
    pending INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    CONSTRAINT pk_rpc_sessions PRIMARY KEY (jti)
) WITHOUT ROWID;

-- The secret is encrypted; last_step is the time step of the last code that was accepted.
CREATE TABLE rpc_second_factors (
    username TEXT NOT NULL,
    secret BLOB NOT NULL,
    enabled_at INTEGER,
    last_step INTEGER NOT NULL,
    codes_shown_at INTEGER,
    CONSTRAINT pk_rpc_second_factors PRIMARY KEY (username)
) WITHOUT ROWID;

-- Codes that have not been used yet.
CREATE TABLE rpc_recovery_codes (
    username TEXT NOT NULL,
    hash VARCHAR(64) NOT NULL,
    CONSTRAINT pk_rpc_recovery_codes PRIMARY KEY (username, hash)
) WITHOUT ROWID;

-- Calls that were asked to run as jobs; the result of one that has ended is in a file.
CREATE TABLE rpc_jobs (
    id TEXT NOT NULL,
    username TEXT NOT NULL,
    object TEXT NOT NULL,
    method TEXT NOT NULL,
    status TEXT NOT NULL,
    progress INTEGER,
    created_at INTEGER NOT NULL,
    ended_at INTEGER,
    CONSTRAINT pk_rpc_jobs PRIMARY KEY (id)
) WITHOUT ROWID;

-- The log is append-only: a row may go only when an anchor holds its place in the chain, and an anchor may only
-- name a row that is there. INSERT is watched as well: INSERT OR REPLACE deletes without firing a trigger.
CREATE TRIGGER audit_ordered BEFORE INSERT ON audit
    WHEN NEW.id <= (SELECT coalesce(max(id), 0) FROM audit)
    BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;

CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;

CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
    WHEN OLD.id > (SELECT coalesce(max(through_id), 0) FROM audit_anchor)
    BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;

CREATE TRIGGER audit_anchor_true BEFORE INSERT ON audit_anchor
    WHEN NOT EXISTS (SELECT 1 FROM audit WHERE id = NEW.through_id AND hash = NEW.hash)
    OR NEW.through_id <= (SELECT coalesce(max(through_id), 0) FROM audit_anchor)
    BEGIN SELECT RAISE(ABORT, 'an anchor names a row of audit'); END;

CREATE TRIGGER audit_anchor_no_update BEFORE UPDATE ON audit_anchor
    BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;

CREATE TRIGGER audit_anchor_no_delete BEFORE DELETE ON audit_anchor
    BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;

INSERT INTO alembic_version VALUES ('0004');
