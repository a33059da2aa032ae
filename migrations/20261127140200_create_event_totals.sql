-- What counts towards an account's monthly quotas of events: how many it stored in a month, and their
-- bytes. Raised by the transaction that stores them, under the row's lock, so that no number of
-- replicas stores more than the quota.
CREATE TABLE event_totals (
    user_id uuid NOT NULL,
    -- Its first day, in UTC.
    month date NOT NULL CONSTRAINT event_totals_month_check CHECK (extract(day FROM month) = 1),
    event_count bigint NOT NULL CONSTRAINT event_totals_event_count_check CHECK (event_count >= 0),
    byte_count bigint NOT NULL CONSTRAINT event_totals_byte_count_check CHECK (byte_count >= 0),
    CONSTRAINT event_totals_pkey PRIMARY KEY (user_id, month)
);

CREATE INDEX event_totals_month_idx ON event_totals (month);
