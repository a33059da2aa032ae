-- no-transaction
-- For the number of files that differ, which every process samples.
CREATE INDEX CONCURRENTLY IF NOT EXISTS files_difference_idx ON files (id) WHERE difference IS NOT NULL;
