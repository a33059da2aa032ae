-- Checkouts begun, each a checkout session at Stripe. The row is stored before the session is created, and its id
-- names the Idempotency-Key.
CREATE TABLE checkouts (
    id uuid CONSTRAINT checkouts_pkey PRIMARY KEY,
    account_id uuid NOT NULL CONSTRAINT checkouts_account_id_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    -- Who pays: the owner of the subscription's row.
    user_id uuid NOT NULL CONSTRAINT checkouts_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    stripe_price_id text NOT NULL,
    quantity bigint NOT NULL CONSTRAINT checkouts_quantity_check CHECK (quantity > 0),
    trial_days integer NOT NULL CONSTRAINT checkouts_trial_days_check CHECK (trial_days >= 0),
    stripe_session_id text CONSTRAINT checkouts_stripe_session_id_key UNIQUE,
    url text,
    status text NOT NULL CONSTRAINT checkouts_status_check CHECK (status IN ('pending', 'open', 'complete', 'expired')),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT checkouts_open_check CHECK (status <> 'open' OR (stripe_session_id IS NOT NULL AND url IS NOT NULL))
);

-- An account has one checkout at a time.
CREATE UNIQUE INDEX checkouts_account_id_open_key ON checkouts (account_id) WHERE status IN ('pending', 'open');
CREATE INDEX checkouts_account_id_created_at_idx ON checkouts (account_id, created_at);
CREATE INDEX checkouts_user_id_idx ON checkouts (user_id);
CREATE INDEX checkouts_created_at_idx ON checkouts (created_at);

SELECT protect_account_rows('checkouts', '{job,admin}');
