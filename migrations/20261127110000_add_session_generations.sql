-- A refresh token carries its session's id and a generation, so that a rotation is one update of the
-- session's row. No index has a column that a rotation changes, and pages keep room for the next version
-- of a row, so that the update is heap-only. The release before leaves the new columns as they are.
ALTER TABLE sessions
    -- Rotations so far. 0 with a hash of NULL: the session's tokens are in refresh_tokens.
    ADD COLUMN generation integer NOT NULL DEFAULT 0,
    -- SHA-256 of the current refresh token.
    ADD COLUMN token_hash bytea,
    -- When the current refresh token expires.
    ADD COLUMN idle_expires_at timestamptz,
    -- When the last generations were rotated away, the newest first.
    ADD COLUMN rotations timestamptz[] NOT NULL DEFAULT '{}',
    ADD CONSTRAINT sessions_token_hash_check CHECK (octet_length(token_hash) = 32) NOT VALID,
    DROP CONSTRAINT sessions_end_reason_check,
    ADD CONSTRAINT sessions_end_reason_check CHECK (end_reason IN (
        'signed_out', 'token_reused', 'ended_remotely', 'password_changed',
        'account_disabled', 'ended_by_admin', 'session_limit')) NOT VALID;

ALTER TABLE sessions SET (fillfactor = 70);
