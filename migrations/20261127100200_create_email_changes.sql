-- Address changes that the owner of the old address can undo. The token is issued when the email with the
-- link is sent; only its hash is stored.
CREATE TABLE email_changes (
    id uuid CONSTRAINT email_changes_pkey PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT email_changes_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    old_email text NOT NULL CONSTRAINT email_changes_old_email_lower_check CHECK (old_email = lower(old_email)),
    -- When the change was asked for: what the account was given since is revoked by an undo.
    requested_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    token_hash bytea CONSTRAINT email_changes_token_hash_key UNIQUE
        CONSTRAINT email_changes_token_hash_check CHECK (octet_length(token_hash) = 32)
);

CREATE INDEX email_changes_user_id_idx ON email_changes (user_id);
CREATE INDEX email_changes_expires_at_idx ON email_changes (expires_at);
