-- An organisation that is not deleted has an owner at the end of each transaction, whatever changed its members: also
-- the deletion of a user. The account's row is locked, so that two transactions do not each count on the owner whom
-- the other one removes.
CREATE FUNCTION keep_an_owner() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('app.exception', true), '');
    is_broken boolean;
BEGIN
    PERFORM set_config('app.exception', 'constraint', true);
    PERFORM FROM public.accounts
    WHERE id = OLD.account_id AND deleted_at IS NULL AND kind = 'organisation' FOR UPDATE;
    is_broken := FOUND AND NOT EXISTS (
        SELECT FROM public.memberships WHERE account_id = OLD.account_id AND role = 'owner');
    PERFORM set_config('app.exception', before, true);
    IF is_broken THEN
        RAISE EXCEPTION 'organisation % would have no owner', OLD.account_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'memberships_owner_check', TABLE = 'memberships';
    END IF;
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION keep_an_owner() FROM PUBLIC;

CREATE CONSTRAINT TRIGGER memberships_keep_an_owner
    AFTER UPDATE OF role, account_id OR DELETE ON memberships DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.role = 'owner') EXECUTE FUNCTION keep_an_owner();

-- Since when an organisation has more members than its plan includes, so that its owners are told once.
ALTER TABLE accounts ADD COLUMN seats_exceeded_at timestamptz;
