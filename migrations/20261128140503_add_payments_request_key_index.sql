-- no-transaction
-- A request is one payment, however often it is repeated.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS payments_request_key ON payments (account_id, user_id, request_key_hash) WHERE request_key_hash IS NOT NULL;
