-- Links that set a new password, and that confirm a new address, which the row then names.
ALTER TABLE one_time_tokens
    ADD COLUMN new_email text
        CONSTRAINT one_time_tokens_new_email_lower_check CHECK (new_email = lower(new_email)),
    DROP CONSTRAINT one_time_tokens_purpose_check,
    ADD CONSTRAINT one_time_tokens_purpose_check
        CHECK (purpose IN ('verify_email', 'reset_password', 'change_email')),
    ADD CONSTRAINT one_time_tokens_change_email_check
        CHECK ((purpose = 'change_email') = (new_email IS NOT NULL));
