-- True if the user had documents to accept when the session began.
ALTER TABLE sessions ADD COLUMN must_accept boolean NOT NULL DEFAULT false;
