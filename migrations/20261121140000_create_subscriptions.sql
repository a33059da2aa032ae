-- What accounts pay for. A row says what the payment provider says; which plan an account has now is
-- decided by reading it. The provider keeps ended subscriptions, and so does the table. An account
-- that pays cannot be deleted from under what it pays for.
CREATE TABLE subscriptions (
    id uuid CONSTRAINT subscriptions_pkey PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT subscriptions_user_id_fkey REFERENCES users (id),
    plan text NOT NULL CONSTRAINT subscriptions_plan_check CHECK (plan IN ('pro', 'enterprise')),
    stripe_subscription_id text CONSTRAINT subscriptions_stripe_subscription_id_key UNIQUE,
    status text NOT NULL CONSTRAINT subscriptions_status_check CHECK (status IN (
        'incomplete', 'incomplete_expired', 'trialing', 'active', 'past_due', 'canceled', 'unpaid', 'paused')),
    current_period_start timestamptz NOT NULL,
    current_period_end timestamptz NOT NULL,
    cancel_at_period_end boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT subscriptions_period_check CHECK (current_period_end >= current_period_start)
);

CREATE INDEX subscriptions_user_id_idx ON subscriptions (user_id);

-- Of the subscriptions that give a plan an account has one at most; it is also what the plan is
-- looked up by.
CREATE UNIQUE INDEX subscriptions_user_id_living_key ON subscriptions (user_id)
    WHERE status IN ('trialing', 'active', 'past_due');
