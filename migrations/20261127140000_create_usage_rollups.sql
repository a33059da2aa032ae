-- Sums of api_usage by the hour and by the day, so that a report of a year reads hundreds of rows
-- and not millions. Written by the statement that writes api_usage. By month, as the rows that they
-- sum up.
CREATE TABLE usage_hourly (
    user_id uuid NOT NULL,
    endpoint text NOT NULL,
    request_count bigint NOT NULL CONSTRAINT usage_hourly_request_count_check CHECK (request_count > 0),
    client_errors bigint NOT NULL CONSTRAINT usage_hourly_client_errors_check CHECK (client_errors >= 0),
    server_errors bigint NOT NULL CONSTRAINT usage_hourly_server_errors_check CHECK (server_errors >= 0),
    response_time_ms double precision NOT NULL
        CONSTRAINT usage_hourly_response_time_ms_check CHECK (response_time_ms >= 0),
    response_time_max_ms double precision NOT NULL
        CONSTRAINT usage_hourly_response_time_max_ms_check CHECK (response_time_max_ms >= 0),
    -- The start of the hour, in UTC.
    created_at timestamptz NOT NULL
        CONSTRAINT usage_hourly_created_at_check CHECK (created_at = date_trunc('hour', created_at, 'UTC')),
    CONSTRAINT usage_hourly_pkey PRIMARY KEY (user_id, created_at, endpoint)
) PARTITION BY RANGE (created_at);

CREATE TABLE usage_hourly_default PARTITION OF usage_hourly DEFAULT;

CREATE TABLE usage_daily (
    user_id uuid NOT NULL,
    endpoint text NOT NULL,
    request_count bigint NOT NULL CONSTRAINT usage_daily_request_count_check CHECK (request_count > 0),
    client_errors bigint NOT NULL CONSTRAINT usage_daily_client_errors_check CHECK (client_errors >= 0),
    server_errors bigint NOT NULL CONSTRAINT usage_daily_server_errors_check CHECK (server_errors >= 0),
    response_time_ms double precision NOT NULL
        CONSTRAINT usage_daily_response_time_ms_check CHECK (response_time_ms >= 0),
    response_time_max_ms double precision NOT NULL
        CONSTRAINT usage_daily_response_time_max_ms_check CHECK (response_time_max_ms >= 0),
    -- The start of the day, in UTC.
    created_at timestamptz NOT NULL
        CONSTRAINT usage_daily_created_at_check CHECK (created_at = date_trunc('day', created_at, 'UTC')),
    CONSTRAINT usage_daily_pkey PRIMARY KEY (user_id, created_at, endpoint)
) PARTITION BY RANGE (created_at);

CREATE TABLE usage_daily_default PARTITION OF usage_daily DEFAULT;

-- How far the rows that were stored before the rollups existed are summed up: all rows up to this
-- account and day, in the order of the primary key. Reports use rollups once all of them are.
CREATE TABLE usage_backfill (
    id boolean NOT NULL DEFAULT true CONSTRAINT usage_backfill_pkey PRIMARY KEY
        CONSTRAINT usage_backfill_id_check CHECK (id),
    user_id uuid NOT NULL,
    day timestamptz NOT NULL,
    is_done boolean NOT NULL
);
