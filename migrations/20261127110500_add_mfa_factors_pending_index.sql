-- no-transaction
-- The purge finds authenticators that nobody confirmed by their time.
CREATE INDEX CONCURRENTLY IF NOT EXISTS mfa_factors_pending_idx ON mfa_factors (created_at) WHERE confirmed_at IS NULL;
