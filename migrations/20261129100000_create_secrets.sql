-- Credentials of other services that an account stores, and their last versions. A value is sealed under
-- ENCRYPTION_KEYS, bound to account, secret and version: a version of a secret that was deleted does not decrypt as
-- one of its successor of the same name.
CREATE TABLE secrets (
    id uuid CONSTRAINT secrets_pkey PRIMARY KEY,
    account_id uuid NOT NULL CONSTRAINT secrets_account_id_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    name text COLLATE "C" NOT NULL CONSTRAINT secrets_name_check CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$'),
    -- The current version.
    version integer NOT NULL CONSTRAINT secrets_version_check CHECK (version > 0),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    -- When it was last shown to a person.
    revealed_at timestamptz,
    CONSTRAINT secrets_account_id_name_key UNIQUE (account_id, name),
    CONSTRAINT secrets_account_id_id_key UNIQUE (account_id, id)
);

CREATE TABLE secret_versions (
    account_id uuid NOT NULL,
    secret_id uuid NOT NULL,
    version integer NOT NULL CONSTRAINT secret_versions_version_check CHECK (version > 0),
    value bytea NOT NULL CONSTRAINT secret_versions_value_check CHECK (octet_length(value) <= 66000),
    -- NULL of a value that is too short to show a part of.
    last_four text CONSTRAINT secret_versions_last_four_check CHECK (char_length(last_four) = 4),
    created_at timestamptz NOT NULL,
    CONSTRAINT secret_versions_pkey PRIMARY KEY (account_id, secret_id, version),
    CONSTRAINT secret_versions_secret_fkey FOREIGN KEY (account_id, secret_id)
        REFERENCES secrets (account_id, id) ON DELETE CASCADE
);

SELECT protect_account_rows('secrets', '{job,admin}');
SELECT protect_account_rows('secret_versions', '{job,admin}');
