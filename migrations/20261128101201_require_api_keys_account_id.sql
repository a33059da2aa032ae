-- Every row has an account that exists. Checked for new rows at once, for old ones by a later file.
ALTER TABLE api_keys
    ADD CONSTRAINT api_keys_account_id_check CHECK (account_id IS NOT NULL) NOT VALID,
    ADD CONSTRAINT api_keys_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts (id) ON DELETE CASCADE NOT VALID;
