-- Reads the table without blocking writers.
ALTER TABLE subscriptions VALIDATE CONSTRAINT subscriptions_status_check;
