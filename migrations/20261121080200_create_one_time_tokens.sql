-- Links in letters. One row for each account and purpose: the newest link is the only one that works.
CREATE TABLE one_time_tokens (
    user_id uuid NOT NULL CONSTRAINT one_time_tokens_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    purpose text NOT NULL CONSTRAINT one_time_tokens_purpose_check CHECK (purpose IN ('verify_email')),
    token_hash bytea NOT NULL CONSTRAINT one_time_tokens_token_hash_key UNIQUE
        CONSTRAINT one_time_tokens_token_hash_check CHECK (octet_length(token_hash) = 32),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT one_time_tokens_pkey PRIMARY KEY (user_id, purpose)
);

CREATE INDEX one_time_tokens_expires_at_idx ON one_time_tokens (expires_at);
