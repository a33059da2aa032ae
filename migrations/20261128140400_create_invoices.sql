-- Invoices of accounts, as at Stripe.
CREATE TABLE invoices (
    id uuid CONSTRAINT invoices_pkey PRIMARY KEY,
    account_id uuid NOT NULL CONSTRAINT invoices_account_id_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    stripe_invoice_id text NOT NULL CONSTRAINT invoices_stripe_invoice_id_key UNIQUE,
    stripe_subscription_id text,
    number text,
    status text NOT NULL CONSTRAINT invoices_status_check CHECK (status IN ('open', 'paid', 'uncollectible', 'void')),
    -- In minor units of the currency.
    total bigint NOT NULL,
    amount_due bigint NOT NULL,
    amount_paid bigint NOT NULL,
    amount_remaining bigint NOT NULL,
    currency char(3) NOT NULL CONSTRAINT invoices_currency_check CHECK (currency ~ '^[A-Z]{3}$'),
    attempt_count bigint NOT NULL,
    next_attempt_at timestamptz,
    -- Pages at Stripe.
    hosted_url text,
    pdf_url text,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    -- Stripe's time.
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE INDEX invoices_account_id_created_at_idx ON invoices (account_id, created_at DESC, id DESC);

-- Emails about billing, once for each fact: an invoice and attempt, the end of a trial, the end of a subscription.
CREATE TABLE billing_notices (
    account_id uuid NOT NULL CONSTRAINT billing_notices_account_id_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    fact text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT billing_notices_pkey PRIMARY KEY (account_id, fact)
);

SELECT protect_account_rows('invoices', '{job,admin}');
SELECT protect_account_rows('billing_notices', '{job,admin}');
