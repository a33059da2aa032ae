-- Separate from its addition, so that the rows are read without the lock that adding it takes.
ALTER TABLE files VALIDATE CONSTRAINT files_difference_check;
