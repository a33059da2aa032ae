-- no-transaction
-- The account of rows from before the column, batch by batch.
CALL fill_account_ids();
