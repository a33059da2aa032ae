-- Files of accounts. The bytes are in the object store, under keys of ids.
CREATE TABLE files (
    id uuid CONSTRAINT files_pkey PRIMARY KEY,
    account_id uuid NOT NULL CONSTRAINT files_account_id_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    -- Who uploaded it, also after their account is deleted.
    user_id uuid NOT NULL,
    -- A label: it is in no key of an object.
    name text NOT NULL CONSTRAINT files_name_check CHECK (octet_length(name) BETWEEN 1 AND 255),
    size bigint NOT NULL CONSTRAINT files_size_check CHECK (size > 0),
    content_type text NOT NULL,
    -- NULL while an upload through the service is received.
    sha256 bytea CONSTRAINT files_sha256_check CHECK (octet_length(sha256) = 32),
    -- pending: the upload is not completed. scanning: completed, and not passed by the virus scanner. infected: its object is
    -- removed. lost: the last sweep found no object.
    state text NOT NULL CONSTRAINT files_state_check CHECK (
        state IN ('pending', 'scanning', 'complete', 'infected', 'lost', 'deleted')
    ),
    -- Completed while a scanner was configured, and not passed yet: a lost file becomes `scanning` again.
    needs_scan boolean NOT NULL DEFAULT false,
    -- Part of the object's key, new for each attempt to complete: a complete object is never written again.
    object_id uuid,
    created_at timestamptz NOT NULL,
    upload_expires_at timestamptz NOT NULL,
    completed_at timestamptz,
    deleted_at timestamptz,
    CONSTRAINT files_completed_check CHECK (
        (state = 'pending') = (object_id IS NULL) AND (state = 'pending') = (completed_at IS NULL)
        AND (state = 'pending' OR sha256 IS NOT NULL)
    ),
    CONSTRAINT files_needs_scan_check CHECK (
        CASE state WHEN 'scanning' THEN needs_scan WHEN 'complete' THEN NOT needs_scan ELSE true END
    ),
    CONSTRAINT files_deleted_check CHECK ((state = 'deleted') = (deleted_at IS NOT NULL))
);

-- What counts towards the limits of the plan, without reading rows.
CREATE INDEX files_account_id_state_idx ON files (account_id, state, upload_expires_at) INCLUDE (size);
CREATE INDEX files_account_id_created_at_idx ON files (account_id, created_at DESC, id DESC)
    WHERE state IN ('scanning', 'complete', 'infected');
-- In the order of the objects' keys.
CREATE INDEX files_account_id_id_idx ON files (account_id, id) WHERE state IN ('scanning', 'complete', 'lost');
CREATE INDEX files_upload_expires_at_idx ON files (upload_expires_at) WHERE state = 'pending';
CREATE INDEX files_scanning_idx ON files (completed_at) WHERE state = 'scanning';
CREATE INDEX files_infected_idx ON files (completed_at) WHERE state = 'infected';
CREATE INDEX files_deleted_at_idx ON files (deleted_at) WHERE state = 'deleted';

SELECT protect_account_rows('files', '{job,admin}');
