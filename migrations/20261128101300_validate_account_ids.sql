-- Scans the tables beside their writers.
ALTER TABLE api_keys VALIDATE CONSTRAINT api_keys_account_id_check;
ALTER TABLE api_keys VALIDATE CONSTRAINT api_keys_account_id_fkey;
ALTER TABLE subscriptions VALIDATE CONSTRAINT subscriptions_account_id_check;
ALTER TABLE subscriptions VALIDATE CONSTRAINT subscriptions_account_id_fkey;
ALTER TABLE payments VALIDATE CONSTRAINT payments_account_id_check;
ALTER TABLE payments VALIDATE CONSTRAINT payments_account_id_fkey;
ALTER TABLE api_usage VALIDATE CONSTRAINT api_usage_account_id_check;
ALTER TABLE usage_hourly VALIDATE CONSTRAINT usage_hourly_account_id_check;
ALTER TABLE usage_daily VALIDATE CONSTRAINT usage_daily_account_id_check;
ALTER TABLE usage_totals VALIDATE CONSTRAINT usage_totals_account_id_check;
ALTER TABLE events VALIDATE CONSTRAINT events_account_id_check;
ALTER TABLE event_totals VALIDATE CONSTRAINT event_totals_account_id_check;
