-- Sample items of accounts.
CREATE TABLE sample_items (
    id uuid CONSTRAINT sample_items_pkey PRIMARY KEY,
    account_id uuid NOT NULL CONSTRAINT sample_items_account_id_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    name text NOT NULL CONSTRAINT sample_items_name_check CHECK (char_length(name) BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE INDEX sample_items_account_id_created_at_id_idx ON sample_items (account_id, created_at, id);

SELECT protect_account_rows('sample_items', '{job,admin}');
