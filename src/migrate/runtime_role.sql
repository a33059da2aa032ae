-- Rights of the runtime role, named by the setting migrate.role: rows to read and write, no tables
-- to change. Run by the owner after the migrations, and as often as one likes.
DO $$
DECLARE
    role name := current_setting('migrate.role');
    entry record;
BEGIN
    IF role = current_user THEN
        RETURN; -- one role for all, as a developer may have it
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
        BEGIN
            EXECUTE format('CREATE ROLE %I LOGIN PASSWORD %L', role, current_setting('migrate.password'));
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- another database of the same cluster was migrated at the same moment
        END;
    END IF;
    -- Everybody may connect by default; not where that was revoked.
    IF NOT has_database_privilege(role, current_database(), 'CONNECT') THEN
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role);
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA public, graphile_worker TO %I', role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA graphile_worker TO %I', role);
    EXECUTE format('GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public, graphile_worker TO %I', role);
    EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public, graphile_worker TO %I', role);
    -- The queue's tables have row security without a policy, which denies all but their owner.
    FOR entry IN
        SELECT relname FROM pg_class
        WHERE relnamespace = 'graphile_worker'::regnamespace AND relkind IN ('r', 'p') AND relrowsecurity
            AND NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid AND polname = 'runtime_' || role)
    LOOP
        EXECUTE format('CREATE POLICY %I ON graphile_worker.%I TO %I USING (true) WITH CHECK (true)',
            'runtime_' || role, entry.relname, role);
    END LOOP;
    FOR entry IN
        SELECT relname, relispartition FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
    LOOP
        EXECUTE format('REVOKE ALL ON %I FROM %I', entry.relname, role);
        IF entry.relispartition THEN
            NULL; -- reached through its parent alone
        ELSIF entry.relname = '_sqlx_migrations' THEN
            EXECUTE format('GRANT SELECT ON %I TO %I', entry.relname, role);
        ELSIF entry.relname = 'audit_log' THEN
            EXECUTE format('GRANT SELECT, INSERT ON %I TO %I', entry.relname, role);
        ELSE
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO %I', entry.relname, role);
        END IF;
    END LOOP;
END
$$;
SELECT set_config('migrate.password', '', false);
