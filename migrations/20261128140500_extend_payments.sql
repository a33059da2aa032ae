-- Payments are created here and follow Stripe. The release before reads `status` into a closed list of words on its
-- dashboard, and a row with another word would fail the whole page of the account: `status` keeps to the old words, the
-- nearest one, and `detailed_status` has the exact one. Rows of the release before have none. The next release can fill
-- it, and then drop `status`.
ALTER TABLE payments
    ADD COLUMN detailed_status text,
    ADD COLUMN stripe_payment_intent_id text,
    ADD COLUMN stripe_invoice_id text,
    ADD COLUMN amount_refunded bigint NOT NULL DEFAULT 0,
    ADD COLUMN description text,
    -- Stripe's reason of the last declined attempt.
    ADD COLUMN failure_code text,
    -- Stripe's status of the dispute.
    ADD COLUMN dispute_status text,
    -- SHA-256 of the client's Idempotency-Key, until the reply to it is stored.
    ADD COLUMN request_key_hash bytea,
    ADD CONSTRAINT payments_detailed_status_check CHECK (detailed_status IN (
        'pending', 'requires_payment_method', 'requires_confirmation', 'requires_action', 'requires_capture', 'processing',
        'succeeded', 'failed', 'canceled', 'partially_refunded', 'refunded', 'disputed', 'dispute_won', 'dispute_lost',
        'unknown')) NOT VALID,
    ADD CONSTRAINT payments_amount_refunded_check CHECK (amount_refunded >= 0) NOT VALID,
    ADD CONSTRAINT payments_request_key_hash_check CHECK (octet_length(request_key_hash) = 32) NOT VALID;
