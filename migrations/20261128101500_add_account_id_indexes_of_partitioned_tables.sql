-- Built on each partition by the runner, after the migrations.
CREATE INDEX api_usage_account_id_created_at_idx ON ONLY api_usage (account_id, created_at);
CREATE INDEX usage_hourly_account_id_created_at_idx ON ONLY usage_hourly (account_id, created_at);
CREATE INDEX usage_daily_account_id_created_at_idx ON ONLY usage_daily (account_id, created_at);
CREATE INDEX events_account_id_created_at_idx ON ONLY events (account_id, created_at, id);
CREATE INDEX audit_log_account_id_created_at_idx ON ONLY audit_log (account_id, created_at, id);
