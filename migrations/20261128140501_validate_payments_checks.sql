-- Reads the table without blocking writers.
ALTER TABLE payments
    VALIDATE CONSTRAINT payments_detailed_status_check,
    VALIDATE CONSTRAINT payments_amount_refunded_check,
    VALIDATE CONSTRAINT payments_request_key_hash_check;
