-- Removes addresses, user agents and details from the audit entries of a user who is being erased. The runtime role
-- still cannot change an entry: the function runs with the owner's rights, and refuses users who are not deleted.

-- Returns how many entries were changed, at most max_rows; 0 once all are.
CREATE FUNCTION erase_audit_details(erased uuid, max_rows integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed integer;
    exception_before text := coalesce(current_setting('app.exception', true), '');
BEGIN
    IF erased IS NULL OR max_rows NOT BETWEEN 1 AND 100000
        OR EXISTS (SELECT FROM public.users WHERE id = erased AND deleted_at IS NULL) THEN
        RAISE EXCEPTION 'the user is not deleted';
    END IF;
    PERFORM set_config('app.exception', 'job', true);
    UPDATE public.audit_log SET ip = NULL, user_agent = NULL, detail = '{}'
    WHERE (id, created_at) IN (
        SELECT id, created_at FROM public.audit_log
        WHERE (user_id = erased OR actor_id = erased)
          AND (ip IS NOT NULL OR user_agent IS NOT NULL OR detail <> '{}')
        LIMIT max_rows);
    GET DIAGNOSTICS changed = ROW_COUNT;
    PERFORM set_config('app.exception', exception_before, true);
    RETURN changed;
END
$$;

REVOKE ALL ON FUNCTION erase_audit_details(uuid, integer) FROM PUBLIC;
