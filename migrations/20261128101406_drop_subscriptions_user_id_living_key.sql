-- no-transaction
-- A user may pay for an organisation besides their own plan. The unique index by account takes its place.
DROP INDEX CONCURRENTLY IF EXISTS subscriptions_user_id_living_key;
