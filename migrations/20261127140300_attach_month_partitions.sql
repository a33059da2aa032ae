-- Partitions are created beside their table and attached, after the rows of their month are moved out
-- of the default partition. CREATE TABLE … PARTITION OF locks the table against all reads and writes,
-- and fails for good once a row of the month is in the default partition.

CREATE FUNCTION has_month_partition(parent text, day date) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM pg_inherits
        WHERE inhparent = to_regclass(format('public.%I', parent))
            AND inhrelid = to_regclass(format('public.%I', parent || to_char(day, '_YYYYMM')))
    )
$$;

REVOKE ALL ON FUNCTION has_month_partition(text, date) FROM PUBLIC;

-- Attaches a month's partition, and returns how many rows it moved. Runs with the owner's rights, since
-- the runtime role may not create tables; so it accepts known tables only.
CREATE FUNCTION attach_month_partition(parent text, day date) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    starts timestamptz := date_trunc('month', day::timestamp) AT TIME ZONE 'UTC';
    ends timestamptz := (date_trunc('month', day::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
    partition text := parent || to_char(day, '_YYYYMM');
    fallback text := parent || '_default';
    misplaced boolean;
    moved bigint := 0;
BEGIN
    IF parent NOT IN ('audit_log', 'api_usage', 'usage_hourly', 'usage_daily', 'events')
        OR day NOT BETWEEN date '1970-01-01' AND (now() + interval '25 months')::date THEN
        RAISE EXCEPTION 'not a table that is partitioned by month, or not a month that it may have';
    END IF;
    -- One process at a time; readers and writers go on.
    EXECUTE format('LOCK TABLE ONLY public.%I IN SHARE UPDATE EXCLUSIVE MODE', parent);
    IF public.has_month_partition(parent, day) THEN
        RETURN 0;
    END IF;
    -- Fails if a table of this name is there and is no partition: somebody detached it.
    EXECUTE format(
        'CREATE TABLE public.%I (LIKE public.%I INCLUDING ALL, CONSTRAINT month_check CHECK (created_at >= %L AND created_at < %L))',
        partition, parent, starts, ends);
    EXECUTE format('SELECT EXISTS (SELECT FROM ONLY public.%I WHERE created_at >= $1 AND created_at < $2)', fallback)
        INTO misplaced USING starts, ends;
    IF misplaced THEN
        -- Writers wait for as long as the move takes. One that was on its way to the default partition
        -- would otherwise be rejected when the month is attached.
        EXECUTE format('LOCK TABLE ONLY public.%I IN EXCLUSIVE MODE', parent);
        EXECUTE format(
            'WITH rows AS (DELETE FROM ONLY public.%I WHERE created_at >= $1 AND created_at < $2 RETURNING *)
             INSERT INTO public.%I SELECT * FROM rows', fallback, partition) USING starts, ends;
        GET DIAGNOSTICS moved = ROW_COUNT;
    END IF;
    EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
        parent, partition, starts, ends);
    EXECUTE format('ALTER TABLE public.%I DROP CONSTRAINT month_check', partition);
    RETURN moved;
END
$$;

REVOKE ALL ON FUNCTION attach_month_partition(text, date) FROM PUBLIC;

-- The months that a table should have a partition for and has not: this one, those ahead, and those
-- of rows in the default partition. Of a large default partition, the first rows only.
CREATE FUNCTION missing_months(parent text, months_ahead integer) RETURNS SETOF date
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF parent NOT IN ('audit_log', 'api_usage', 'usage_hourly', 'usage_daily', 'events')
        OR months_ahead NOT BETWEEN 0 AND 24 THEN
        RAISE EXCEPTION 'not a table that is partitioned by month, or too far ahead';
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT month::date FROM (
             SELECT date_trunc(''month'', now() AT TIME ZONE ''UTC'') + make_interval(months => ahead) AS month
             FROM generate_series(0, $1) AS ahead
             UNION
             SELECT date_trunc(''month'', created_at AT TIME ZONE ''UTC'')
             FROM (SELECT created_at FROM ONLY public.%I LIMIT 1000000) AS d
             WHERE created_at >= ''1970-01-01 00:00+00'' AND created_at < now() + make_interval(months => $1)
         ) AS m
         WHERE NOT public.has_month_partition($2, month::date)
         ORDER BY 1 LIMIT 100', parent || '_default') USING months_ahead, parent;
END
$$;

REVOKE ALL ON FUNCTION missing_months(text, integer) FROM PUBLIC;

-- For metrics: how many months after this one have a partition without a gap (-1 if this one has
-- none), and how many rows are in the default partition, counted up to 100,000.
CREATE FUNCTION month_partition_state(parent text, OUT months_ahead integer, OUT default_rows bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF parent NOT IN ('audit_log', 'api_usage', 'usage_hourly', 'usage_daily', 'events') THEN
        RAISE EXCEPTION 'not a table that is partitioned by month';
    END IF;
    months_ahead := -1;
    WHILE months_ahead < 24 AND public.has_month_partition(parent,
        (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => months_ahead + 1))::date)
    LOOP
        months_ahead := months_ahead + 1;
    END LOOP;
    EXECUTE format('SELECT count(*) FROM (SELECT FROM ONLY public.%I LIMIT 100000) AS d', parent || '_default')
        INTO default_rows;
END
$$;

REVOKE ALL ON FUNCTION month_partition_state(text) FROM PUBLIC;

-- As releases before this one call it: the same months, by the function above. A failure is raised
-- and no longer passed over.
CREATE OR REPLACE FUNCTION create_month_partitions(parent text, months_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    month date;
    made integer := 0;
BEGIN
    FOR month IN SELECT * FROM public.missing_months(parent, months_ahead) LOOP
        PERFORM public.attach_month_partition(parent, month);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;

SELECT create_month_partitions('usage_hourly', 3);
SELECT create_month_partitions('usage_daily', 3);

-- The months that api_usage has, for the backfill of the rollups.
SELECT attach_month_partition(rollup, to_date(right(child.relname, 6), 'YYYYMM'))
FROM pg_inherits
JOIN pg_class AS child ON child.oid = inhrelid
CROSS JOIN unnest(ARRAY['usage_hourly', 'usage_daily']) AS rollup
WHERE inhparent = 'api_usage'::regclass AND child.relname ~ '^api_usage_[0-9]{6}$';
