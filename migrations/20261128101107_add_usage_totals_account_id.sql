-- The account that is metered; until the primary key changes user_id has the same id.
ALTER TABLE usage_totals ADD COLUMN account_id uuid;

CREATE TRIGGER usage_totals_set_account_id BEFORE INSERT OR UPDATE ON usage_totals
FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_account_id();
