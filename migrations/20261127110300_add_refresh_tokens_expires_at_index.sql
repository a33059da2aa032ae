-- no-transaction
-- The purge finds expired tokens by their time instead of reading the whole table.
CREATE INDEX CONCURRENTLY IF NOT EXISTS refresh_tokens_expires_at_idx ON refresh_tokens (expires_at);
