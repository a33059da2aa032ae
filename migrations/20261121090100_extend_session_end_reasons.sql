-- A session also ends when its owner ends it from another one, and when the password changes.
ALTER TABLE sessions
    DROP CONSTRAINT sessions_end_reason_check,
    ADD CONSTRAINT sessions_end_reason_check
        CHECK (end_reason IN ('signed_out', 'token_reused', 'ended_remotely', 'password_changed'));
