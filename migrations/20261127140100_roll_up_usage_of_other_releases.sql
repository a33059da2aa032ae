-- Adds what a release before this one writes to api_usage to the rollups, so that their sums are
-- exact while both releases run, and after a rollback. This release writes the rollups in the same
-- statement as api_usage, in the order of their keys, and marks its transaction so that the triggers
-- do nothing. A later release drops them.
CREATE FUNCTION add_to_usage_rollups() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    unit text;
    source text;
BEGIN
    IF current_setting('usage.rolls_up', true) = 'yes' THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'INSERT' THEN
        source := 'SELECT * FROM added';
    ELSE
        source := 'SELECT user_id, created_at, endpoint, status_code,
                          a.request_count - b.request_count AS request_count,
                          greatest(a.response_time_ms - b.response_time_ms, 0) AS response_time_ms,
                          a.response_time_max_ms
                   FROM after AS a JOIN before AS b USING (user_id, created_at, endpoint, status_code)
                   WHERE a.request_count > b.request_count';
    END IF;
    FOREACH unit IN ARRAY ARRAY['hour', 'day'] LOOP
        EXECUTE format(
            'INSERT INTO public.%I AS r (user_id, created_at, endpoint, request_count, client_errors,
                                         server_errors, response_time_ms, response_time_max_ms)
             SELECT user_id, date_trunc(%L, created_at, ''UTC''), endpoint, sum(request_count)::int8,
                    coalesce(sum(request_count) FILTER (WHERE status_code BETWEEN 400 AND 499), 0)::int8,
                    coalesce(sum(request_count) FILTER (WHERE status_code >= 500), 0)::int8,
                    sum(response_time_ms), max(response_time_max_ms)
             FROM (%s) AS s GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
             ON CONFLICT (user_id, created_at, endpoint) DO UPDATE SET
                 request_count = r.request_count + excluded.request_count,
                 client_errors = r.client_errors + excluded.client_errors,
                 server_errors = r.server_errors + excluded.server_errors,
                 response_time_ms = r.response_time_ms + excluded.response_time_ms,
                 response_time_max_ms = greatest(r.response_time_max_ms, excluded.response_time_max_ms)',
            CASE unit WHEN 'hour' THEN 'usage_hourly' ELSE 'usage_daily' END, unit, source);
    END LOOP;
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION add_to_usage_rollups() FROM PUBLIC;

CREATE TRIGGER api_usage_roll_up_inserts AFTER INSERT ON api_usage
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION add_to_usage_rollups();
CREATE TRIGGER api_usage_roll_up_updates AFTER UPDATE ON api_usage
REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION add_to_usage_rollups();

-- In the transaction that creates the triggers: a row is either summed up by them or by the backfill.
INSERT INTO usage_backfill (user_id, day, is_done)
SELECT '00000000-0000-0000-0000-000000000000', '1970-01-01 00:00+00', NOT EXISTS (SELECT FROM api_usage);
