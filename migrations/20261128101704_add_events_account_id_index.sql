-- Events of an account, and those among given ids. Built on each partition after the migrations.
CREATE INDEX events_account_id_created_at_idx ON ONLY events (account_id, created_at, id);
