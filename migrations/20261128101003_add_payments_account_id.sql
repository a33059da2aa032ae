-- The account that paid; user_id is who paid.
ALTER TABLE payments ADD COLUMN account_id uuid;

CREATE TRIGGER payments_set_account BEFORE INSERT OR UPDATE ON payments
FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_personal_account();
