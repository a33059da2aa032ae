-- A row without user and sessions revokes the sessions of everybody that began up to a time.
ALTER TABLE session_revocations ALTER COLUMN user_id DROP NOT NULL;
