-- Reports of an account by hour. Built on each partition after the migrations.
CREATE INDEX usage_hourly_account_id_created_at_idx ON ONLY usage_hourly (account_id, created_at, endpoint);
