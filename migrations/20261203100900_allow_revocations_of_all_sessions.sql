-- A row without user and sessions revokes the sessions of everybody that began up to a time.
ALTER TABLE session_revocations
    ALTER COLUMN user_id DROP NOT NULL,
    DROP CONSTRAINT session_revocations_sessions_check,
    ADD CONSTRAINT session_revocations_sessions_check
        CHECK ((session_ids IS NULL) = (begun_until IS NOT NULL) AND (session_ids IS NULL OR user_id IS NOT NULL));
