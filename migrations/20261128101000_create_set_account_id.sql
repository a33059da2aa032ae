-- The account of rows that the release before writes, which does not name it: its user's personal account, with the
-- same id. Also for its updates, so that a row is never rewritten without an account behind the backfill.
CREATE FUNCTION set_account_id() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.account_id := NEW.user_id;
    RETURN NEW;
END
$$;

REVOKE ALL ON FUNCTION set_account_id() FROM PUBLIC;
