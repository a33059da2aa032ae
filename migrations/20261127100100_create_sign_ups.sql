-- Credentials of earlier sign-ups for an address that nobody has confirmed. The newest are in the row of
-- the account; none replaces another until the owner of the address confirms one.
CREATE TABLE sign_ups (
    user_id uuid NOT NULL CONSTRAINT sign_ups_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    password_hash text NOT NULL,
    first_name text,
    last_name text,
    created_at timestamptz NOT NULL,
    CONSTRAINT sign_ups_pkey PRIMARY KEY (user_id, password_hash)
);
