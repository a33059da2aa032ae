-- no-transaction
-- Statistics of the new columns, without which the planner does not know how few rows an account has.
ANALYZE api_keys, subscriptions, payments, api_usage, usage_hourly, usage_daily, usage_totals, events, event_totals, audit_log;
