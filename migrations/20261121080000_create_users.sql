-- People with an account. The address is kept in lower case, so that unique means unique.
CREATE TABLE users (
    id uuid CONSTRAINT users_pkey PRIMARY KEY,
    email text NOT NULL CONSTRAINT users_email_key UNIQUE
        CONSTRAINT users_email_lower_check CHECK (email = lower(email)),
    password_hash text NOT NULL,
    first_name text,
    last_name text,
    role text NOT NULL DEFAULT 'user' CONSTRAINT users_role_check CHECK (role IN ('user', 'admin')),
    email_verified_at timestamptz,
    stripe_customer_id text CONSTRAINT users_stripe_customer_id_key UNIQUE,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz
);
