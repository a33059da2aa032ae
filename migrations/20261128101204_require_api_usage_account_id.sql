-- Every row has an account. Checked for new rows at once, for old ones by a later file.
ALTER TABLE api_usage ADD CONSTRAINT api_usage_account_id_check CHECK (account_id IS NOT NULL) NOT VALID;
