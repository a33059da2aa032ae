-- The account that is metered; until the primary key changes user_id has the same id.
ALTER TABLE api_usage ADD COLUMN account_id uuid;

CREATE TRIGGER api_usage_set_account_id BEFORE INSERT OR UPDATE ON api_usage
FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_account_id();
