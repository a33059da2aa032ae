-- Reports of an account by day. Built on each partition after the migrations.
CREATE INDEX usage_daily_account_id_created_at_idx ON ONLY usage_daily (account_id, created_at, endpoint);
