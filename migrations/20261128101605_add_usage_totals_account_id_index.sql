-- no-transaction
-- Totals of an account. Not unique while the primary key is: ON CONFLICT names one of them, and a concurrent insert
-- would fail at the other.
CREATE INDEX CONCURRENTLY IF NOT EXISTS usage_totals_account_id_month_idx ON usage_totals (account_id, month);
