-- Every row has an account. Checked for new rows at once, for old ones by a later file.
ALTER TABLE usage_hourly ADD CONSTRAINT usage_hourly_account_id_check CHECK (account_id IS NOT NULL) NOT VALID;
