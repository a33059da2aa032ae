-- Deletions that owners of accounts asked for. A row outlives its user: it names the work until all of it is done.
CREATE TABLE account_deletions (
    user_id uuid CONSTRAINT account_deletions_pkey PRIMARY KEY,
    requested_at timestamptz NOT NULL,
    -- The account is erased from then on.
    erase_at timestamptz NOT NULL,
    reminded_at timestamptz,
    -- Nobody works on it before: a process does now, or the last attempt was deferred or has failed.
    next_attempt_at timestamptz NOT NULL,
    deferred_reason text CONSTRAINT account_deletions_deferred_reason_check CHECK (deferred_reason IN (
        'legal_hold', 'last_admin', 'last_owner', 'payment_in_progress', 'payment_disputed')),
    -- From then on it cannot be canceled.
    started_at timestamptz,
    -- Customer at Stripe, about whom events arrive after the end as well.
    stripe_customer_id text,
    -- Account that the books of this one are moved to.
    books_id uuid NOT NULL,
    -- The user is gone since then.
    erased_at timestamptz,
    -- Address of the email about the end, until it is sent.
    email text,
    -- False if nobody gets an email, as when an erasure is applied again.
    is_notified boolean NOT NULL
);

CREATE INDEX account_deletions_next_attempt_at_idx ON account_deletions (next_attempt_at);

-- Accounts that must be kept, such as for a lawsuit: neither erasure nor retention deletes their rows.
CREATE TABLE legal_holds (
    user_id uuid CONSTRAINT legal_holds_pkey PRIMARY KEY,
    reason text NOT NULL CONSTRAINT legal_holds_reason_check CHECK (char_length(reason) BETWEEN 1 AND 500),
    -- Name of the person who placed it, outside of the product.
    placed_by text NOT NULL CONSTRAINT legal_holds_placed_by_check CHECK (char_length(placed_by) BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL
);
