-- Money that moved, or tried to, in the currency's minor units. Kept when an account goes, as books are.
CREATE TABLE payments (
    id uuid CONSTRAINT payments_pkey PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT payments_user_id_fkey REFERENCES users (id),
    subscription_id uuid CONSTRAINT payments_subscription_id_fkey REFERENCES subscriptions (id),
    stripe_charge_id text CONSTRAINT payments_stripe_charge_id_key UNIQUE,
    amount bigint NOT NULL CONSTRAINT payments_amount_check CHECK (amount >= 0),
    currency char(3) NOT NULL CONSTRAINT payments_currency_check CHECK (currency ~ '^[A-Z]{3}$'),
    status text NOT NULL CONSTRAINT payments_status_check CHECK (status IN (
        'pending', 'succeeded', 'failed', 'partially_refunded', 'refunded', 'disputed')),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE INDEX payments_user_id_created_at_idx ON payments (user_id, created_at DESC);
CREATE INDEX payments_subscription_id_idx ON payments (subscription_id);
