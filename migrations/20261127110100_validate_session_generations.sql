-- The checks that were added without a scan. Validating takes no lock that readers or writers wait for, in
-- a transaction of its own.
ALTER TABLE sessions
    VALIDATE CONSTRAINT sessions_token_hash_check,
    VALIDATE CONSTRAINT sessions_end_reason_check;
