-- Register of requests about personal data that arrive by post or email (Art. 12 GDPR: a month to answer). Erasures that
-- users start themselves are in account_deletions.
CREATE TABLE data_requests (
    id uuid CONSTRAINT data_requests_pkey PRIMARY KEY,
    -- Null if the person has no account. Not a reference: the register outlives an erased account.
    user_id uuid,
    kind text NOT NULL
        CONSTRAINT data_requests_kind_check CHECK (kind IN ('access', 'rectification', 'erasure', 'restriction', 'objection')),
    reference text NOT NULL CONSTRAINT data_requests_reference_check CHECK (char_length(reference) BETWEEN 1 AND 200),
    received_at timestamptz NOT NULL,
    answer text CONSTRAINT data_requests_answer_check CHECK (char_length(answer) BETWEEN 1 AND 200),
    closed_at timestamptz,
    CONSTRAINT data_requests_closed_check CHECK ((answer IS NULL) = (closed_at IS NULL))
);

CREATE INDEX data_requests_received_at_idx ON data_requests (received_at) WHERE closed_at IS NULL;
CREATE INDEX data_requests_closed_at_idx ON data_requests (closed_at);
