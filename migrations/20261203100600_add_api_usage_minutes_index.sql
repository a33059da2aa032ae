-- For the job that adds up old counts by the hour: the rows of whole hours, most of the table, are not in it. Built on each
-- partition by the runner, after the migrations.
CREATE INDEX api_usage_minutes_idx ON ONLY api_usage (created_at)
    WHERE extract(minute FROM created_at AT TIME ZONE 'UTC') <> 0;
