-- The account that owns the events; while user_id is in the primary key it has the same id.
ALTER TABLE event_totals ADD COLUMN account_id uuid;

CREATE TRIGGER event_totals_set_account BEFORE INSERT OR UPDATE ON event_totals
FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_personal_account();
