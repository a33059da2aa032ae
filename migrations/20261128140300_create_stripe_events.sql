-- Webhook events as received. One says that something changed at Stripe; a job then reads what is true.
CREATE TABLE stripe_events (
    id text CONSTRAINT stripe_events_pkey PRIMARY KEY,
    type text NOT NULL,
    api_version text,
    livemode boolean NOT NULL,
    -- Of the object that the event is about, where it names one.
    stripe_customer_id text,
    object_id text,
    -- Raw body. It names people, so that events are purged.
    payload bytea NOT NULL,
    -- Stripe's time, in whole seconds, which orders nothing.
    created_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    -- Null until a job has read what the event is about.
    processed_at timestamptz
);

CREATE INDEX stripe_events_received_at_idx ON stripe_events (received_at);
CREATE INDEX stripe_events_waiting_idx ON stripe_events (stripe_customer_id, received_at) WHERE processed_at IS NULL;
