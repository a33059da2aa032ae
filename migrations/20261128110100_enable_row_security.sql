-- no-transaction
-- Table by table, beside their readers and writers.
CALL protect_all_account_rows();
