-- What counts towards an account's monthly quota: the sum of its rows in api_usage, kept beside them
-- by the same statement, since a quota is looked at far more often than a month can be added up.
CREATE TABLE usage_totals (
    user_id uuid NOT NULL,
    -- Its first day, in UTC.
    month date NOT NULL CONSTRAINT usage_totals_month_check CHECK (extract(day FROM month) = 1),
    request_count bigint NOT NULL CONSTRAINT usage_totals_request_count_check CHECK (request_count >= 0),
    CONSTRAINT usage_totals_pkey PRIMARY KEY (user_id, month)
);

CREATE INDEX usage_totals_month_idx ON usage_totals (month);
