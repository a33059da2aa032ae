-- Reports of an account by minute. Built on each partition after the migrations.
CREATE INDEX api_usage_account_id_created_at_idx ON ONLY api_usage (account_id, created_at, endpoint, status_code);
