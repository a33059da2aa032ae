-- Keys that programs act for an account with. Of a secret only the hash is kept; after a rotation the
-- one before works on until its time. A revoked key stays for a while, for whoever looks into an incident.
CREATE TABLE api_keys (
    id uuid CONSTRAINT api_keys_pkey PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT api_keys_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    name text NOT NULL CONSTRAINT api_keys_name_check CHECK (char_length(name) BETWEEN 1 AND 100),
    scopes text[] NOT NULL CONSTRAINT api_keys_scopes_check CHECK (
        cardinality(scopes) > 0 AND scopes <@ ARRAY[
            'read', 'write',
            'users:read', 'users:write', 'usage:read', 'usage:write', 'events:read', 'events:write',
            'billing:read', 'billing:write', 'payments:read', 'payments:write',
            'secrets:read', 'secrets:write', 'files:read', 'files:write',
            'dashboard:read', 'dashboard:write'
        ]),
    hint text NOT NULL CONSTRAINT api_keys_hint_check CHECK (char_length(hint) = 4),
    secret_hash bytea NOT NULL CONSTRAINT api_keys_secret_hash_check CHECK (octet_length(secret_hash) = 32),
    previous_secret_hash bytea
        CONSTRAINT api_keys_previous_secret_hash_check CHECK (octet_length(previous_secret_hash) = 32),
    previous_expires_at timestamptz,
    created_at timestamptz NOT NULL,
    rotated_at timestamptz,
    expires_at timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT api_keys_previous_check CHECK ((previous_secret_hash IS NULL) = (previous_expires_at IS NULL))
);

CREATE INDEX api_keys_user_id_created_at_idx ON api_keys (user_id, created_at, id);
CREATE INDEX api_keys_expires_at_idx ON api_keys (expires_at);
