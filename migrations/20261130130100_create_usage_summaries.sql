-- Monthly usage summaries by email, one of a user and month: the row is inserted with the job that sends it.
CREATE TABLE usage_summaries (
    user_id uuid NOT NULL CONSTRAINT usage_summaries_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    -- First day of the month that it is about.
    month date NOT NULL CONSTRAINT usage_summaries_month_check CHECK (date_part('day', month) = 1),
    created_at timestamptz NOT NULL,
    -- NULL until the mail server has accepted it.
    sent_at timestamptz,
    CONSTRAINT usage_summaries_pkey PRIMARY KEY (user_id, month)
);

CREATE INDEX usage_summaries_created_at_idx ON usage_summaries (created_at);
