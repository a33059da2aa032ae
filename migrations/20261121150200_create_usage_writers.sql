-- The last batch of counts that each process wrote. A batch whose confirmation was lost is sent
-- again under the same number, and counted once.
CREATE TABLE usage_writers (
    id uuid NOT NULL CONSTRAINT usage_writers_pkey PRIMARY KEY,
    batch bigint NOT NULL CONSTRAINT usage_writers_batch_check CHECK (batch > 0),
    written_at timestamptz NOT NULL
);

CREATE INDEX usage_writers_written_at_idx ON usage_writers (written_at);
