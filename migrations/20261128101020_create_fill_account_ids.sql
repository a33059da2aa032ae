-- Fills account_id of the rows from before the column, in batches of their own transactions, beside writers. Reads
-- the blocks of each table and partition once. Can be repeated, and continues behind the rows that are filled.
CREATE PROCEDURE fill_account_ids() LANGUAGE plpgsql AS $$
DECLARE
    -- Some ten thousand rows.
    blocks_per_batch CONSTANT bigint := 200;
    parent regclass;
    leaf oid;
    leaf_name text;
    filled oid[];
    block bigint;
    blocks bigint;
BEGIN
    FOREACH parent IN ARRAY ARRAY['public.api_keys', 'public.subscriptions', 'public.payments', 'public.usage_totals',
        'public.event_totals', 'public.usage_daily', 'public.usage_hourly', 'public.api_usage', 'public.events',
        'public.audit_log']::regclass[]
    LOOP
        filled := '{}';
        LOOP
            -- Looked up each time, since a partition that is attached meanwhile takes rows of the default one.
            SELECT c.oid, format('public.%I', c.relname) INTO leaf, leaf_name FROM pg_catalog.pg_class AS c
            WHERE c.relkind = 'r' AND c.oid <> ALL (filled) AND (c.oid = parent
                OR c.oid IN (SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = parent))
            ORDER BY c.oid LIMIT 1;
            EXIT WHEN leaf IS NULL;
            filled := filled || leaf;
            block := 0;
            -- Rows that are written from now on have an account.
            blocks := pg_relation_size(leaf) / current_setting('block_size')::bigint;
            WHILE block < blocks LOOP
                BEGIN
                    -- Shorter than deadlock_timeout: of a deadlock with a writer this batch is given up.
                    PERFORM set_config('lock_timeout', '200ms', true);
                    EXECUTE format(
                        'UPDATE %s SET account_id = user_id
                         WHERE ctid >= $1 AND ctid < $2 AND account_id IS NULL AND user_id IS NOT NULL', leaf_name)
                        USING format('(%s,0)', block)::tid, format('(%s,0)', block + blocks_per_batch)::tid;
                    block := block + blocks_per_batch;
                EXCEPTION
                    WHEN lock_not_available OR deadlock_detected THEN
                        PERFORM pg_sleep(0.2);
                    WHEN undefined_table THEN
                        block := blocks; -- a month that was dropped
                END;
                COMMIT;
            END LOOP;
        END LOOP;
    END LOOP;
END
$$;

REVOKE ALL ON PROCEDURE fill_account_ids() FROM PUBLIC;
