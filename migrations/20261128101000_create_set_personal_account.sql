-- The account of rows that the release before writes, which does not name one: the personal account of the user. Also
-- of those that it updates: the new version of a row may be stored behind the backfill. The next release drops the
-- triggers.
CREATE FUNCTION set_personal_account() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.account_id := NEW.user_id;
    RETURN NEW;
END
$$;

REVOKE ALL ON FUNCTION set_personal_account() FROM PUBLIC;
