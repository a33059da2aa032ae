-- An administrator can shut an account, for a reason that is kept for other administrators, and
-- end its sessions.
ALTER TABLE users
    ADD COLUMN disabled_at timestamptz,
    ADD COLUMN disabled_reason text
        CONSTRAINT users_disabled_reason_check CHECK (char_length(disabled_reason) BETWEEN 1 AND 500),
    ADD CONSTRAINT users_disabled_check CHECK (disabled_reason IS NULL OR disabled_at IS NOT NULL);

ALTER TABLE sessions
    DROP CONSTRAINT sessions_end_reason_check,
    ADD CONSTRAINT sessions_end_reason_check CHECK (end_reason IN (
        'signed_out', 'token_reused', 'ended_remotely', 'password_changed',
        'account_disabled', 'ended_by_admin'));
