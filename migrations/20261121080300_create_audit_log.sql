-- What happened to accounts: written once, never changed. By month, so that old months can be
-- detached whole. No foreign keys: the log outlives what it speaks of.
CREATE TABLE audit_log (
    id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    event text NOT NULL,
    user_id uuid,
    actor_id uuid,
    session_id uuid,
    request_id text,
    ip inet,
    detail jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT audit_log_pkey PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);

CREATE INDEX audit_log_user_id_created_at_idx ON audit_log (user_id, created_at);
CREATE INDEX audit_log_created_at_idx ON audit_log (created_at);

-- Where rows go whose month has no partition: none is ever refused.
CREATE TABLE audit_log_default PARTITION OF audit_log DEFAULT;
