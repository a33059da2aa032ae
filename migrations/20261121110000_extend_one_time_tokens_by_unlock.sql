-- Links that let the owner of an account try again which strangers have locked.
ALTER TABLE one_time_tokens
    DROP CONSTRAINT one_time_tokens_purpose_check,
    ADD CONSTRAINT one_time_tokens_purpose_check
        CHECK (purpose IN ('verify_email', 'reset_password', 'change_email', 'unlock'));
