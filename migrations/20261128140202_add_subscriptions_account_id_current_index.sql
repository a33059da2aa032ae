-- no-transaction
-- Of the subscriptions that give a plan an account has one at most, besides duplicates, which give none.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS subscriptions_account_id_current_key ON subscriptions (account_id) WHERE status IN ('trialing', 'active', 'past_due') AND NOT is_duplicate;
