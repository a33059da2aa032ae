-- no-transaction
-- A sign-in counts its account's sessions that have not ended, however many ended ones are kept.
CREATE INDEX CONCURRENTLY IF NOT EXISTS sessions_user_id_living_idx ON sessions (user_id) WHERE ended_at IS NULL;
