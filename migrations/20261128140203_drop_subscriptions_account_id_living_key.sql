-- no-transaction
-- A second subscription that was paid is stored as a duplicate. The unique index besides duplicates takes its place.
DROP INDEX CONCURRENTLY IF EXISTS subscriptions_account_id_living_key;
