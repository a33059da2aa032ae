-- Addresses that get no optional emails, and after a bounce nothing but emails about security. An address is stored as a
-- keyed hash, so that the list names nobody, also those who are erased.
CREATE TABLE email_suppressions (
    address_hash bytea NOT NULL CONSTRAINT email_suppressions_address_hash_check CHECK (octet_length(address_hash) = 32),
    reason text NOT NULL CONSTRAINT email_suppressions_reason_check CHECK (reason IN ('bounce', 'complaint', 'manual')),
    created_at timestamptz NOT NULL,
    CONSTRAINT email_suppressions_pkey PRIMARY KEY (address_hash, reason)
);

CREATE INDEX email_suppressions_created_at_idx ON email_suppressions (created_at);
