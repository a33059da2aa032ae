-- The account that is metered; until the primary key changes user_id has the same id.
ALTER TABLE usage_daily ADD COLUMN account_id uuid;

CREATE TRIGGER usage_daily_set_account_id BEFORE INSERT OR UPDATE ON usage_daily
FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_account_id();
