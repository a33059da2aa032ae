-- no-transaction
-- A payment intent at Stripe is one payment.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS payments_stripe_payment_intent_id_key ON payments (stripe_payment_intent_id);
