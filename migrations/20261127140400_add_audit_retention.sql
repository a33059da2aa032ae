-- Client addresses and user agents are removed from old audit entries, and whole months of the log
-- may be dropped. The runtime role still cannot change or delete an entry: these functions run with
-- the owner's rights and refuse what is recent.

-- Up to where addresses are removed.
CREATE TABLE audit_address_progress (
    id boolean NOT NULL DEFAULT true CONSTRAINT audit_address_progress_pkey PRIMARY KEY
        CONSTRAINT audit_address_progress_id_check CHECK (id),
    removed_before timestamptz NOT NULL
);

INSERT INTO audit_address_progress (removed_before) VALUES ('-infinity');

-- Removes addresses and user agents from the next entries, about max_rows of them, that are older
-- than a moment; returns from how many entries, or NULL once all older entries are done. Reads the
-- log by its index on created_at, from where the last call stopped.
CREATE FUNCTION remove_audit_addresses(before timestamptz, max_rows integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    starts timestamptz;
    ends timestamptz;
    changed integer;
BEGIN
    IF before IS NULL OR before > now() - interval '30 days' OR max_rows NOT BETWEEN 1 AND 100000 THEN
        RAISE EXCEPTION 'addresses of the last 30 days are kept';
    END IF;
    SELECT removed_before INTO starts FROM public.audit_address_progress FOR UPDATE;
    IF starts >= before THEN
        RETURN NULL;
    END IF;
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
    UPDATE public.audit_address_progress SET removed_before = ends;
    RETURN changed;
END
$$;

REVOKE ALL ON FUNCTION remove_audit_addresses(timestamptz, integer) FROM PUBLIC;

-- Rollups are dropped with the months that they sum up. Months of the audit log are kept for a year
-- at least, whatever is asked for.
CREATE OR REPLACE FUNCTION drop_month_partitions(parent text, before timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    kept interval := CASE parent WHEN 'audit_log' THEN interval '365 days' ELSE interval '28 days' END;
    partition name;
    month timestamp;
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
        EXECUTE format('DROP TABLE IF EXISTS public.%I', partition);
        dropped := dropped + 1;
    END LOOP;
    EXECUTE format('DELETE FROM public.%I WHERE created_at < $1', parent || '_default') USING before;
    RETURN dropped;
END
$$;
