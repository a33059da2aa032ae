-- Every row has an account. Checked for new rows at once, for old ones by a later file.
ALTER TABLE events ADD CONSTRAINT events_account_id_check CHECK (account_id IS NOT NULL) NOT VALID;
