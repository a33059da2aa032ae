-- What each account called: a row for each operation, status and minute, added to in batches. By
-- month, so that old months go whole. No foreign key: a batch tells of many accounts, and must not
-- fail because one of them is gone.
CREATE TABLE api_usage (
    user_id uuid NOT NULL,
    endpoint text NOT NULL,
    request_count bigint NOT NULL CONSTRAINT api_usage_request_count_check CHECK (request_count > 0),
    -- The sum over the requests, so that rows can be added up; divided by their number it is the mean.
    response_time_ms double precision NOT NULL
        CONSTRAINT api_usage_response_time_ms_check CHECK (response_time_ms >= 0),
    response_time_max_ms double precision NOT NULL
        CONSTRAINT api_usage_response_time_max_ms_check CHECK (response_time_max_ms >= 0),
    status_code smallint NOT NULL CONSTRAINT api_usage_status_code_check CHECK (status_code BETWEEN 100 AND 599),
    -- The minute, so that a statement can add to its row.
    created_at timestamptz NOT NULL
        CONSTRAINT api_usage_created_at_check CHECK (created_at = date_trunc('minute', created_at, 'UTC')),
    CONSTRAINT api_usage_pkey PRIMARY KEY (user_id, created_at, endpoint, status_code)
) PARTITION BY RANGE (created_at);

-- Where rows go whose month has no partition: none is ever refused.
CREATE TABLE api_usage_default PARTITION OF api_usage DEFAULT;
