-- no-transaction
-- Of the subscriptions that give a plan an account has one at most.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS subscriptions_account_id_living_key ON subscriptions (account_id) WHERE status IN ('trialing', 'active', 'past_due');
