-- When a session was last used is when its newest refresh token was issued. A column for it had to be
-- written with each rotation. It stays for the release before, which reads and writes it; this one does
-- neither, and so it needs a default.
ALTER TABLE sessions ALTER COLUMN last_used_at SET DEFAULT now();
DROP INDEX refresh_tokens_session_id_idx;
CREATE INDEX refresh_tokens_session_id_issued_at_idx ON refresh_tokens (session_id, issued_at);
