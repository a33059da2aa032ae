-- The bytes of files are compared with their rows, each within FILE_VERIFY_WITHIN.
ALTER TABLE files
    -- The object was read and compared; NULL if it was not since its completion, which compares it as well.
    ADD COLUMN verified_at timestamptz,
    -- How the object differs; NULL if the last comparison found no difference.
    ADD COLUMN difference text;

ALTER TABLE files ADD CONSTRAINT files_difference_check CHECK (difference IN ('missing', 'size', 'hash')) NOT VALID;
