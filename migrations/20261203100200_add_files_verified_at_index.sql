-- no-transaction
-- For the files that were compared longest ago.
CREATE INDEX CONCURRENTLY IF NOT EXISTS files_verified_at_idx ON files (coalesce(verified_at, completed_at), id) WHERE state IN ('scanning', 'complete', 'lost');
