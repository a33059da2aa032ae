-- no-transaction
-- The personal accounts of users from before the table, batch by batch.
CALL fill_personal_accounts();
