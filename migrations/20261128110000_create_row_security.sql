-- Row-level security of tables with an account. The transaction names the account by the setting app.account, or an
-- exception by app.exception; without either a table has no rows, also for the owner of the schema.

-- Enables it for one table; exceptions are those of src/scope.rs that the table admits. The release before this one
-- names no account: its sessions are known by their application_name and see all rows. The next release drops
-- that condition.
CREATE FUNCTION protect_account_rows(protected regclass, exceptions text[], account_column name DEFAULT 'account_id')
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    condition text := format(
        '%I = nullif(current_setting(''app.account'', true), '''')::uuid
         OR current_setting(''app.exception'', true) = ANY (%L::text[])
         OR current_setting(''application_name'') = ''groundwork''', account_column, exceptions);
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', protected);
    EXECUTE format('DROP POLICY IF EXISTS account_rows ON %s', protected);
    EXECUTE format('CREATE POLICY account_rows ON %s USING (%s) WITH CHECK (%2$s)', protected, condition);
END
$$;

REVOKE ALL ON FUNCTION protect_account_rows(regclass, text[], name) FROM PUBLIC;

-- One table after the other, each in a transaction of its own: ALTER TABLE waits for the table's readers, and all
-- later ones queue up behind it, so it waits for a second and tries again.
CREATE PROCEDURE protect_all_account_rows() LANGUAGE plpgsql AS $$
DECLARE
    entry record;
    is_done boolean;
BEGIN
    FOR entry IN
        SELECT * FROM (VALUES
            ('accounts', 'id', '{authentication,membership,invitation,job,admin,sign_up,constraint}'),
            ('account_slugs', 'account_id', '{membership,invitation,job,admin}'),
            ('memberships', 'account_id', '{membership,invitation,job,admin,constraint}'),
            ('invitations', 'account_id', '{invitation,job,admin}'),
            ('invitation_blocks', 'account_id', '{invitation,job,admin}'),
            ('api_keys', 'account_id', '{authentication,job,admin}'),
            ('subscriptions', 'account_id', '{job,admin}'),
            ('payments', 'account_id', '{job,admin}'),
            ('api_usage', 'account_id', '{metering,job,admin}'),
            ('usage_hourly', 'account_id', '{metering,job,admin}'),
            ('usage_daily', 'account_id', '{metering,job,admin}'),
            ('usage_totals', 'account_id', '{metering,job,admin}'),
            ('events', 'account_id', '{job,admin}'),
            ('event_totals', 'account_id', '{job,admin}'),
            ('audit_log', 'account_id', '{job,admin}')
        ) AS tables (name, account_column, exceptions)
    LOOP
        is_done := false;
        FOR attempt IN 1..60 LOOP
            PERFORM set_config('lock_timeout', '1s', true);
            BEGIN
                PERFORM public.protect_account_rows(
                    format('public.%I', entry.name)::regclass, entry.exceptions::text[], entry.account_column::name);
                is_done := true;
            EXCEPTION WHEN lock_not_available THEN
                NULL;
            END;
            COMMIT;
            EXIT WHEN is_done;
            PERFORM pg_sleep(0.5);
        END LOOP;
        IF NOT is_done THEN
            RAISE EXCEPTION 'the table % is locked by others for a minute: end their transactions and migrate again', entry.name;
        END IF;
    END LOOP;
END
$$;

REVOKE ALL ON PROCEDURE protect_all_account_rows() FROM PUBLIC;

-- Entries are also written for clients that are not signed in, and about accounts that were not named. They can be
-- added from everywhere, and read as the rows of any other table.
CREATE POLICY account_entries ON audit_log FOR INSERT WITH CHECK (true);

-- As before, and under the exception of jobs: it runs as the owner, for whom the policies hold as well.
CREATE OR REPLACE FUNCTION remove_audit_addresses(before timestamptz, max_rows integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    starts timestamptz;
    ends timestamptz;
    changed integer;
    exception_before text := coalesce(current_setting('app.exception', true), '');
BEGIN
    IF before IS NULL OR before > now() - interval '30 days' OR max_rows NOT BETWEEN 1 AND 100000 THEN
        RAISE EXCEPTION 'addresses of the last 30 days are kept';
    END IF;
    SELECT removed_before INTO starts FROM public.audit_address_progress FOR UPDATE;
    IF starts >= before THEN
        RETURN NULL;
    END IF;
    PERFORM set_config('app.exception', 'job', true);
    SELECT created_at INTO ends FROM public.audit_log
    WHERE created_at >= starts AND created_at < before
    ORDER BY created_at OFFSET max_rows LIMIT 1;
    IF ends = starts THEN
        -- More entries than a batch were written in one microsecond.
        ends := starts + interval '1 microsecond';
    END IF;
    ends := coalesce(ends, before);
    UPDATE public.audit_log SET ip = NULL, user_agent = NULL
    WHERE created_at >= starts AND created_at < ends AND (ip IS NOT NULL OR user_agent IS NOT NULL);
    GET DIAGNOSTICS changed = ROW_COUNT;
    PERFORM set_config('app.exception', exception_before, true);
    UPDATE public.audit_address_progress SET removed_before = ends;
    RETURN changed;
END
$$;
