-- Exports of a person's data (Art. 15 and 20 GDPR), each a ZIP archive in parts.
CREATE TABLE data_exports (
    id uuid CONSTRAINT data_exports_pkey PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT data_exports_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    state text NOT NULL CONSTRAINT data_exports_state_check CHECK (state IN ('pending', 'ready', 'failed')),
    requested_at timestamptz NOT NULL,
    -- The attempt whose parts are the archive; NULL until it is ready.
    attempt uuid,
    parts integer CONSTRAINT data_exports_parts_check CHECK (parts > 0),
    size bigint CONSTRAINT data_exports_size_check CHECK (size > 0),
    is_in_store boolean,
    ready_at timestamptz,
    -- When the archive, or the row of one that failed, is deleted.
    expires_at timestamptz,
    failure text CONSTRAINT data_exports_failure_check CHECK (failure IN ('too_large')),
    CONSTRAINT data_exports_ready_check CHECK (
        (state = 'ready') = (attempt IS NOT NULL AND parts IS NOT NULL AND size IS NOT NULL AND is_in_store IS NOT NULL
                             AND ready_at IS NOT NULL)
    ),
    CONSTRAINT data_exports_failed_check CHECK ((state = 'failed') = (failure IS NOT NULL)),
    CONSTRAINT data_exports_expires_check CHECK ((state = 'pending') = (expires_at IS NULL))
);

CREATE UNIQUE INDEX data_exports_user_id_pending_key ON data_exports (user_id) WHERE state = 'pending';
CREATE INDEX data_exports_user_id_requested_at_idx ON data_exports (user_id, requested_at DESC);
CREATE INDEX data_exports_expires_at_idx ON data_exports (expires_at);

-- Parts of archives where there is no object store.
CREATE TABLE data_export_parts (
    export_id uuid NOT NULL CONSTRAINT data_export_parts_export_id_fkey REFERENCES data_exports (id) ON DELETE CASCADE,
    attempt uuid NOT NULL,
    part integer NOT NULL,
    bytes bytea NOT NULL CONSTRAINT data_export_parts_bytes_check CHECK (octet_length(bytes) BETWEEN 1 AND 2097152),
    CONSTRAINT data_export_parts_pkey PRIMARY KEY (export_id, attempt, part)
);
