-- no-transaction
-- Keys of an account are listed by age.
CREATE INDEX CONCURRENTLY IF NOT EXISTS api_keys_account_id_created_at_idx ON api_keys (account_id, created_at, id);
