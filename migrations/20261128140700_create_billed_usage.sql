-- Usage that was sent to Stripe, by the hour.
CREATE TABLE billed_usage (
    account_id uuid NOT NULL CONSTRAINT billed_usage_account_id_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    -- The start of the hour, in UTC.
    hour timestamptz NOT NULL CONSTRAINT billed_usage_hour_check CHECK (hour = date_trunc('hour', hour, 'UTC')),
    count bigint NOT NULL CONSTRAINT billed_usage_count_check CHECK (count >= 0),
    -- Counts that were sent before. Part of the identifier of the meter event.
    revision integer NOT NULL DEFAULT 0,
    -- Null until Stripe has accepted the count.
    sent_at timestamptz,
    CONSTRAINT billed_usage_pkey PRIMARY KEY (account_id, hour)
);

CREATE INDEX billed_usage_hour_idx ON billed_usage (hour);

SELECT protect_account_rows('billed_usage', '{job,admin}');
