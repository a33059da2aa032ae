-- Drops the months of a table that ended before a moment, and what is older of those without a
-- partition. It runs with the owner's rights, since the runtime role that calls it daily may not drop
-- tables; so it knows its tables by name, and keeps the last month whoever asks for what.
CREATE FUNCTION drop_month_partitions(parent text, before timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    partition name;
    month timestamp;
    dropped integer := 0;
BEGIN
    IF parent NOT IN ('api_usage', 'events') OR before IS NULL OR before > now() - interval '28 days' THEN
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

REVOKE ALL ON FUNCTION drop_month_partitions(text, timestamptz) FROM PUBLIC;
