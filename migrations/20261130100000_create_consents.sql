-- What users have accepted and agreed to, append-only: the newest line of a user and kind counts.
CREATE TABLE consents (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT consents_pkey PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT consents_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    -- A document ('terms', 'privacy_notice') or an optional kind.
    kind text NOT NULL CONSTRAINT consents_kind_check CHECK (kind ~ '^[a-z][a-z_]{0,39}$'),
    -- Version of the document; NULL for an optional kind.
    version text CONSTRAINT consents_version_check CHECK (char_length(version) BETWEEN 1 AND 40),
    is_given boolean NOT NULL,
    -- Where it was given or withdrawn: 'sign_up', 'settings', 'unsubscribe', 'command'.
    source text NOT NULL CONSTRAINT consents_source_check CHECK (source ~ '^[a-z][a-z_]{0,39}$'),
    ip inet,
    user_agent text,
    created_at timestamptz NOT NULL,
    CONSTRAINT consents_document_check CHECK (version IS NULL OR is_given)
);

CREATE INDEX consents_user_id_kind_idx ON consents (user_id, kind, id DESC);
CREATE INDEX consents_kind_user_id_idx ON consents (kind, user_id, id DESC) WHERE version IS NULL;
