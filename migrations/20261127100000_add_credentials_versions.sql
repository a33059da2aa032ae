-- The version of an account's credentials, advanced by everything that changes or defends them. Links,
-- waiting sign-ins and unconfirmed authenticators are bound to the version they were issued under. Zero
-- is what the release before writes, so that what it issued works until the account's first change.
ALTER TABLE users ADD COLUMN credentials_version integer NOT NULL DEFAULT 0;
ALTER TABLE one_time_tokens ADD COLUMN credentials_version integer NOT NULL DEFAULT 0;
ALTER TABLE mfa_challenges ADD COLUMN credentials_version integer NOT NULL DEFAULT 0;
ALTER TABLE mfa_factors ADD COLUMN credentials_version integer NOT NULL DEFAULT 0;
