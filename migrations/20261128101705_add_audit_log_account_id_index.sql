-- Entries about an account, in the order of their list. Built on each partition after the migrations.
CREATE INDEX audit_log_account_id_created_at_idx ON ONLY audit_log (account_id, created_at, id);
