-- The account that is metered; while user_id is in the primary key it has the same id.
ALTER TABLE usage_hourly ADD COLUMN account_id uuid;

CREATE TRIGGER usage_hourly_set_account BEFORE INSERT OR UPDATE ON usage_hourly
FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_personal_account();
