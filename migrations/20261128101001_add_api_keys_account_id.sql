-- The account that a key acts for; user_id is who created it.
ALTER TABLE api_keys ADD COLUMN account_id uuid;

CREATE TRIGGER api_keys_set_account BEFORE INSERT OR UPDATE ON api_keys
FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_personal_account();
