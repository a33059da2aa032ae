-- no-transaction
-- Payments whose creation at Stripe is not confirmed are few, and settled daily.
CREATE INDEX CONCURRENTLY IF NOT EXISTS payments_pending_idx ON payments (created_at, id) WHERE detailed_status = 'pending' AND stripe_payment_intent_id IS NULL;
