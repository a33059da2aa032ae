-- The account that owns the events; while user_id is in the primary key it has the same id.
ALTER TABLE events ADD COLUMN account_id uuid;

CREATE TRIGGER events_set_account BEFORE INSERT OR UPDATE ON events
FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_personal_account();
