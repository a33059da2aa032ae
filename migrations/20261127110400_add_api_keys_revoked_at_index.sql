-- no-transaction
-- The purge finds revoked keys by their time; expired ones have an index.
CREATE INDEX CONCURRENTLY IF NOT EXISTS api_keys_revoked_at_idx ON api_keys (revoked_at) WHERE revoked_at IS NOT NULL;
