-- The customer at Stripe of each account that has wanted to pay.
CREATE TABLE billing_customers (
    account_id uuid CONSTRAINT billing_customers_pkey PRIMARY KEY
        CONSTRAINT billing_customers_account_id_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    -- Null until Stripe has confirmed it.
    stripe_customer_id text CONSTRAINT billing_customers_stripe_customer_id_key UNIQUE,
    -- Names the Idempotency-Key of its creation, which Stripe remembers for a day.
    creation_began_at timestamptz NOT NULL,
    -- As last sent to Stripe.
    email text NOT NULL,
    -- An account has one trial.
    trial_used_at timestamptz,
    -- Reads of Stripe are numbered as they begin; one that ends after a later one is not stored.
    reads_begun bigint NOT NULL DEFAULT 0,
    last_read_stored bigint NOT NULL DEFAULT 0,
    synced_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

SELECT protect_account_rows('billing_customers', '{job,admin}');
