-- Accounts that nobody confirmed are looked for daily, and are few among all.
CREATE INDEX users_unverified_created_at_idx ON users (created_at) WHERE email_verified_at IS NULL;
