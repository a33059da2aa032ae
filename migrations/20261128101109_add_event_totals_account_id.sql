-- The account that owns the events; until the primary key changes user_id has the same id.
ALTER TABLE event_totals ADD COLUMN account_id uuid;

CREATE TRIGGER event_totals_set_account_id BEFORE INSERT OR UPDATE ON event_totals
FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_account_id();
