-- Set while the deletion of an account is pending: nobody can sign in until it is canceled.
ALTER TABLE users ADD COLUMN erase_at timestamptz;

-- Books are kept without the person who paid.
ALTER TABLE subscriptions ALTER COLUMN user_id DROP NOT NULL;
ALTER TABLE payments ALTER COLUMN user_id DROP NOT NULL;
