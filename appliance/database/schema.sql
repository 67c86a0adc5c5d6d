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

INSERT INTO alembic_version VALUES ('0003');
