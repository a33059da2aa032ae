-- no-transaction
-- The quota of an account is looked up by month. Not unique: a conflict on it would
-- fail the statements whose ON CONFLICT names the primary key.
CREATE INDEX CONCURRENTLY IF NOT EXISTS usage_totals_account_id_month_idx ON usage_totals (account_id, month);
