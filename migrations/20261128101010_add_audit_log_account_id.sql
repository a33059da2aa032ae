-- The account acted for, or the personal account of the user whom the entry is about.
ALTER TABLE audit_log ADD COLUMN account_id uuid;

CREATE TRIGGER audit_log_set_account BEFORE INSERT OR UPDATE ON audit_log
FOR EACH ROW WHEN (NEW.account_id IS NULL AND NEW.user_id IS NOT NULL) EXECUTE FUNCTION set_personal_account();
