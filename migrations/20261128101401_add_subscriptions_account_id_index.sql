-- no-transaction
-- The subscriptions of an account.
CREATE INDEX CONCURRENTLY IF NOT EXISTS subscriptions_account_id_idx ON subscriptions (account_id);
