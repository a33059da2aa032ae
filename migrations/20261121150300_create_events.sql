-- What happened in an account's product, as it tells us: written once, never changed. By month, so
-- that old months go whole. The owner is part of the key, so that nobody's ids meet another's.
CREATE TABLE events (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    event_type text NOT NULL CONSTRAINT events_event_type_check CHECK (event_type ~ '^[a-z0-9_.:-]{1,100}$'),
    event_data jsonb NOT NULL CONSTRAINT events_event_data_check CHECK (jsonb_typeof(event_data) = 'object'),
    -- The time that is in the id, so that the same id always is the same row.
    created_at timestamptz NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (user_id, created_at, id)
) PARTITION BY RANGE (created_at);

-- Where rows go whose month has no partition: none is ever refused.
CREATE TABLE events_default PARTITION OF events DEFAULT;
