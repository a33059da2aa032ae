-- no-transaction
-- Payments of an account are listed, newest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS payments_account_id_created_at_idx ON payments (account_id, created_at DESC, id DESC);
