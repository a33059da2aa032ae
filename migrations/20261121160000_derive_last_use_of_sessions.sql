-- When a session was last used is when its newest refresh token was issued. A column for it had to be
-- written with each rotation, which cost as much as the rotation itself.
DROP INDEX refresh_tokens_session_id_idx;
CREATE INDEX refresh_tokens_session_id_issued_at_idx ON refresh_tokens (session_id, issued_at);
ALTER TABLE sessions DROP COLUMN last_used_at;
