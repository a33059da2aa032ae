-- Every row has an account, and it exists. Of usage and events there is no foreign key, as there is none on user_id.
ALTER TABLE api_keys
    ADD CONSTRAINT api_keys_account_id_check CHECK (account_id IS NOT NULL) NOT VALID,
    ADD CONSTRAINT api_keys_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts (id) ON DELETE CASCADE NOT VALID;
ALTER TABLE subscriptions
    ADD CONSTRAINT subscriptions_account_id_check CHECK (account_id IS NOT NULL) NOT VALID,
    ADD CONSTRAINT subscriptions_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts (id) NOT VALID;
ALTER TABLE payments
    ADD CONSTRAINT payments_account_id_check CHECK (account_id IS NOT NULL) NOT VALID,
    ADD CONSTRAINT payments_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts (id) NOT VALID;
ALTER TABLE api_usage ADD CONSTRAINT api_usage_account_id_check CHECK (account_id IS NOT NULL) NOT VALID;
ALTER TABLE usage_hourly ADD CONSTRAINT usage_hourly_account_id_check CHECK (account_id IS NOT NULL) NOT VALID;
ALTER TABLE usage_daily ADD CONSTRAINT usage_daily_account_id_check CHECK (account_id IS NOT NULL) NOT VALID;
ALTER TABLE usage_totals ADD CONSTRAINT usage_totals_account_id_check CHECK (account_id IS NOT NULL) NOT VALID;
ALTER TABLE events ADD CONSTRAINT events_account_id_check CHECK (account_id IS NOT NULL) NOT VALID;
ALTER TABLE event_totals ADD CONSTRAINT event_totals_account_id_check CHECK (account_id IS NOT NULL) NOT VALID;
