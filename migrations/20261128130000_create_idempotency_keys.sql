-- Idempotency keys of requests that create something, each reserved for the request that runs, and after its commit
-- with the reply. A key is stored as its hash, a request as a keyed hash (its body can have a password), and a reply is
-- sealed (it can show a secret).
CREATE TABLE idempotency_keys (
    account_id uuid NOT NULL CONSTRAINT idempotency_keys_account_id_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    user_id uuid NOT NULL CONSTRAINT idempotency_keys_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    key_hash bytea NOT NULL CONSTRAINT idempotency_keys_key_hash_check CHECK (octet_length(key_hash) = 32),
    request_mac bytea NOT NULL CONSTRAINT idempotency_keys_request_mac_check CHECK (octet_length(request_mac) = 32),
    -- The request that runs, or ran: a reservation that was taken over has another.
    holder uuid NOT NULL,
    locked_until timestamptz NOT NULL,
    -- NULL until the request has committed.
    status smallint CONSTRAINT idempotency_keys_status_check CHECK (status BETWEEN 200 AND 499),
    -- NULL as well if the reply was too large.
    body bytea CONSTRAINT idempotency_keys_body_check CHECK (octet_length(body) <= 66000),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (account_id, user_id, key_hash),
    CONSTRAINT idempotency_keys_reply_check CHECK (body IS NULL OR status IS NOT NULL)
);

CREATE INDEX idempotency_keys_user_id_idx ON idempotency_keys (user_id);
CREATE INDEX idempotency_keys_expires_at_idx ON idempotency_keys (expires_at);

SELECT protect_account_rows('idempotency_keys', '{job,admin}');
