-- Sign-ins whose password was right and which wait for the second factor. Of the token only the hash is kept.
CREATE TABLE mfa_challenges (
    token_hash bytea CONSTRAINT mfa_challenges_pkey PRIMARY KEY
        CONSTRAINT mfa_challenges_token_hash_check CHECK (octet_length(token_hash) = 32),
    user_id uuid NOT NULL CONSTRAINT mfa_challenges_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    -- How the tokens are to go out, as it was asked for with the password.
    transport text NOT NULL CONSTRAINT mfa_challenges_transport_check CHECK (transport IN ('bearer', 'cookie')),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    attempts_left integer NOT NULL CONSTRAINT mfa_challenges_attempts_left_check CHECK (attempts_left >= 0)
);

CREATE INDEX mfa_challenges_user_id_idx ON mfa_challenges (user_id);
CREATE INDEX mfa_challenges_expires_at_idx ON mfa_challenges (expires_at);
