-- Usage and events are by month as well: the same function makes their partitions.
CREATE OR REPLACE FUNCTION create_month_partitions(parent text, months_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    month timestamptz;
    partition text;
    made integer := 0;
BEGIN
    IF parent NOT IN ('audit_log', 'api_usage', 'events') OR months_ahead NOT BETWEEN 0 AND 24 THEN
        RAISE EXCEPTION 'not a table that is partitioned by month, or too far ahead';
    END IF;
    FOR ahead IN 0..months_ahead LOOP
        month := date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
        month := (month AT TIME ZONE 'UTC' + make_interval(months => ahead)) AT TIME ZONE 'UTC';
        partition := parent || to_char(month AT TIME ZONE 'UTC', '_YYYYMM');
        CONTINUE WHEN to_regclass(format('public.%I', partition)) IS NOT NULL;
        BEGIN
            EXECUTE format(
                'CREATE TABLE public.%I PARTITION OF public.%I FOR VALUES FROM (%L) TO (%L)',
                partition, parent, month,
                (month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC');
            made := made + 1;
        EXCEPTION
            WHEN duplicate_table THEN
                NULL; -- another replica was faster
            WHEN check_violation THEN
                NULL; -- its rows are in the default partition already, and stay there
        END;
    END LOOP;
    RETURN made;
END
$$;

SELECT create_month_partitions('api_usage', 3);
SELECT create_month_partitions('events', 3);
