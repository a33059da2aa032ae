-- Second factors. One authenticator an account; until it is confirmed by a code it asks nobody for anything.
CREATE TABLE mfa_factors (
    user_id uuid CONSTRAINT mfa_factors_pkey PRIMARY KEY
        CONSTRAINT mfa_factors_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    -- Sealed under ENCRYPTION_KEYS and bound to this column and account.
    secret bytea NOT NULL,
    created_at timestamptz NOT NULL,
    confirmed_at timestamptz,
    -- The 30 seconds of the newest code that was accepted; none of then or before is accepted again.
    last_used_step bigint,
    -- When wrong codes were given, the newest last and no more than are counted.
    failed_at timestamptz[] NOT NULL DEFAULT '{}',
    -- When the owner was last told that somebody gives wrong codes.
    warned_at timestamptz
);

-- What was shown once for the day on which the authenticator is lost. 120 random bits each, of which the hash is kept.
CREATE TABLE recovery_codes (
    user_id uuid NOT NULL CONSTRAINT recovery_codes_user_id_fkey REFERENCES mfa_factors (user_id) ON DELETE CASCADE,
    code_hash bytea NOT NULL CONSTRAINT recovery_codes_code_hash_check CHECK (octet_length(code_hash) = 32),
    created_at timestamptz NOT NULL,
    used_at timestamptz,
    CONSTRAINT recovery_codes_pkey PRIMARY KEY (user_id, code_hash)
);
