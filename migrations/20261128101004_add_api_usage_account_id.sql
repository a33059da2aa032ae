-- The account that is metered; while user_id is in the primary key it has the same id.
ALTER TABLE api_usage ADD COLUMN account_id uuid;

CREATE TRIGGER api_usage_set_account BEFORE INSERT OR UPDATE ON api_usage
FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_personal_account();
