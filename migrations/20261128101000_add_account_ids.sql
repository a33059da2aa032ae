-- Rows belong to an account; user_id beside it says who acted. What the release before inserts has no account and
-- belongs to the personal account of its user. The next release drops the triggers.
ALTER TABLE api_keys ADD COLUMN account_id uuid;
ALTER TABLE subscriptions ADD COLUMN account_id uuid;
ALTER TABLE payments ADD COLUMN account_id uuid;
ALTER TABLE api_usage ADD COLUMN account_id uuid;
ALTER TABLE usage_hourly ADD COLUMN account_id uuid;
ALTER TABLE usage_daily ADD COLUMN account_id uuid;
ALTER TABLE usage_totals ADD COLUMN account_id uuid;
ALTER TABLE events ADD COLUMN account_id uuid;
ALTER TABLE event_totals ADD COLUMN account_id uuid;
ALTER TABLE audit_log ADD COLUMN account_id uuid;

CREATE FUNCTION set_personal_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.account_id := NEW.user_id;
    RETURN NEW;
END
$$;

CREATE TRIGGER api_keys_set_account BEFORE INSERT ON api_keys
    FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_personal_account();
CREATE TRIGGER subscriptions_set_account BEFORE INSERT ON subscriptions
    FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_personal_account();
CREATE TRIGGER payments_set_account BEFORE INSERT ON payments
    FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_personal_account();
CREATE TRIGGER api_usage_set_account BEFORE INSERT ON api_usage
    FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_personal_account();
CREATE TRIGGER usage_hourly_set_account BEFORE INSERT ON usage_hourly
    FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_personal_account();
CREATE TRIGGER usage_daily_set_account BEFORE INSERT ON usage_daily
    FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_personal_account();
CREATE TRIGGER usage_totals_set_account BEFORE INSERT ON usage_totals
    FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_personal_account();
CREATE TRIGGER events_set_account BEFORE INSERT ON events
    FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_personal_account();
CREATE TRIGGER event_totals_set_account BEFORE INSERT ON event_totals
    FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION set_personal_account();
CREATE TRIGGER audit_log_set_account BEFORE INSERT ON audit_log
    FOR EACH ROW WHEN (NEW.account_id IS NULL AND NEW.user_id IS NOT NULL) EXECUTE FUNCTION set_personal_account();

-- Sets the account of rows from before the column, some hundred pages of a table at a time, each batch in a
-- transaction of its own, beside readers and writers. Can be repeated after an interruption.
CREATE PROCEDURE fill_account_ids() LANGUAGE plpgsql AS $$
DECLARE
    pages CONSTANT bigint := 500;
    part regclass;
    page bigint;
    last_page bigint;
BEGIN
    FOR part IN
        SELECT c.oid
        FROM pg_attribute AS a
        JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
        WHERE a.attname = 'account_id' AND EXISTS (
            SELECT FROM pg_attribute AS u WHERE u.attrelid = c.oid AND u.attname = 'user_id')
    LOOP
        page := 0;
        -- Rows that are added from here on have an account.
        last_page := pg_relation_size(part) / current_setting('block_size')::bigint;
        WHILE page <= last_page LOOP
            EXECUTE format(
                'UPDATE %s SET account_id = user_id
                 WHERE ctid >= %L AND ctid < %L AND account_id IS NULL AND user_id IS NOT NULL',
                part, format('(%s,0)', page), format('(%s,0)', page + pages));
            COMMIT;
            page := page + pages;
        END LOOP;
    END LOOP;
END
$$;

REVOKE ALL ON PROCEDURE fill_account_ids() FROM PUBLIC;
