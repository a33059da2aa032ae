-- A legal hold keeps the rows of its account beyond their retention, also in tables that are dropped by the month, and
-- the addresses in its audit entries.

-- As before; of a month with rows of held accounts, these rows are kept in a partition of their own.
CREATE OR REPLACE FUNCTION drop_month_partitions(parent text, before timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    kept interval := CASE parent WHEN 'audit_log' THEN interval '365 days' ELSE interval '28 days' END;
    -- Columns that name the owner of a row. Each is the first of an index.
    owners text[] := CASE parent WHEN 'audit_log' THEN ARRAY['account_id', 'user_id', 'actor_id']
        ELSE ARRAY['account_id', 'user_id'] END;
    is_held text := format('EXISTS (SELECT FROM public.legal_holds AS h WHERE h.user_id IN (%s))',
        (SELECT string_agg('r.' || owner, ', ') FROM unnest(owners) AS owner));
    owner text;
    partition name;
    month timestamp;
    has_held boolean;
    has_others boolean;
    dropped integer := 0;
BEGIN
    IF parent NOT IN ('audit_log', 'api_usage', 'usage_hourly', 'usage_daily', 'events')
        OR before IS NULL OR before > now() - kept THEN
        RAISE EXCEPTION 'not a table whose months may be dropped, or too young ones';
    END IF;
    FOR partition IN
        SELECT child.relname
        FROM pg_inherits
        JOIN pg_class AS child ON child.oid = inhrelid
        WHERE inhparent = format('public.%I', parent)::regclass AND child.relname ~ ('^' || parent || '_[0-9]{6}$')
        ORDER BY child.relname
    LOOP
        month := to_date(right(partition, 6), 'YYYYMM');
        CONTINUE WHEN (month + interval '1 month') AT TIME ZONE 'UTC' > before;
        has_held := false;
        FOREACH owner IN ARRAY owners LOOP
            -- By the index of the column: the month may be large, and holds are few.
            EXECUTE format('SELECT EXISTS (SELECT FROM public.legal_holds AS h JOIN public.%I AS r ON r.%I = h.user_id)',
                partition, owner) INTO has_held;
            EXIT WHEN has_held;
        END LOOP;
        IF has_held THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM public.%I AS r WHERE NOT %s)', partition, is_held) INTO has_others;
            CONTINUE WHEN NOT has_others;
            EXECUTE format('CREATE TEMP TABLE held_rows ON COMMIT DROP AS SELECT * FROM public.%I AS r WHERE %s',
                partition, is_held);
        END IF;
        EXECUTE format('DROP TABLE IF EXISTS public.%I', partition);
        dropped := dropped + 1;
        IF has_held THEN
            EXECUTE format('INSERT INTO public.%I SELECT * FROM pg_temp.held_rows', parent || '_default');
            DROP TABLE pg_temp.held_rows;
            PERFORM public.attach_month_partition(parent, month::date);
        END IF;
    END LOOP;
    EXECUTE format('DELETE FROM public.%I AS r WHERE created_at < $1 AND NOT %s', parent || '_default', is_held)
        USING before;
    RETURN dropped;
END
$$;

-- As before, without the entries of held accounts. The end of a hold resets audit_address_progress, so that all
-- entries are looked at again.
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
    UPDATE public.audit_log AS r SET ip = NULL, user_agent = NULL
    WHERE r.created_at >= starts AND r.created_at < ends AND (r.ip IS NOT NULL OR r.user_agent IS NOT NULL)
        AND NOT EXISTS (SELECT FROM public.legal_holds AS h WHERE h.user_id IN (r.account_id, r.user_id, r.actor_id));
    GET DIAGNOSTICS changed = ROW_COUNT;
    PERFORM set_config('app.exception', exception_before, true);
    UPDATE public.audit_address_progress SET removed_before = ends;
    RETURN changed;
END
$$;
