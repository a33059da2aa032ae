-- What a subscription is at Stripe. The release before reads none of it.
ALTER TABLE subscriptions
    ADD COLUMN stripe_price_id text,
    ADD COLUMN quantity bigint,
    ADD COLUMN cancel_at timestamptz,
    ADD COLUMN trial_end timestamptz,
    ADD COLUMN ended_at timestamptz,
    -- By our clock, for the grace.
    ADD COLUMN past_due_since timestamptz,
    ADD COLUMN stripe_created_at timestamptz,
    -- Another subscription of the account came first; this one is cancelled and refunded.
    ADD COLUMN is_duplicate boolean NOT NULL DEFAULT false,
    -- Null for a price that no plan has.
    ALTER COLUMN plan DROP NOT NULL,
    DROP CONSTRAINT subscriptions_status_check,
    -- 'unknown' is a status that this release does not know.
    ADD CONSTRAINT subscriptions_status_check CHECK (status IN (
        'incomplete', 'incomplete_expired', 'trialing', 'active', 'past_due', 'canceled', 'unpaid', 'paused',
        'unknown')) NOT VALID;
