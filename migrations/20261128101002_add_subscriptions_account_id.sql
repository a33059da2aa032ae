-- The account that a subscription gives a plan; user_id is who subscribed.
ALTER TABLE subscriptions ADD COLUMN account_id uuid;

CREATE TRIGGER subscriptions_set_account BEFORE INSERT OR UPDATE ON subscriptions
FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_personal_account();
