-- Sessions that ended while their access tokens may still run, for the list that every replica keeps. Each
-- replica reads what is new by the transaction's number. Rows are purged once the tokens have run out.
CREATE TABLE session_revocations (
    xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    id bigint GENERATED ALWAYS AS IDENTITY,
    user_id uuid NOT NULL,
    -- These sessions; or, where there are too many to list, all that began up to a time, but one.
    session_ids uuid[],
    begun_until timestamptz,
    kept_session_id uuid,
    ended_at timestamptz NOT NULL,
    CONSTRAINT session_revocations_pkey PRIMARY KEY (xid, id),
    CONSTRAINT session_revocations_sessions_check CHECK ((session_ids IS NULL) = (begun_until IS NOT NULL))
);

-- Set by a statement that ends many sessions and adds the one row for all of them.
ALTER TABLE sessions ADD COLUMN is_revoked boolean NOT NULL DEFAULT false;

-- Whoever ends or deletes a session, it is revoked: this release, the release before, and statements by
-- hand. It runs with the owner's rights, since it exists before the runtime role is given its own.
CREATE FUNCTION record_session_revocation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.session_revocations (user_id, session_ids, ended_at)
    VALUES (OLD.user_id, ARRAY[OLD.id], CASE TG_OP WHEN 'UPDATE' THEN NEW.ended_at ELSE now() END);
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION record_session_revocation() FROM PUBLIC;

-- Not for updates of other columns, such as rotations.
CREATE TRIGGER sessions_ended AFTER UPDATE OF ended_at ON sessions
    FOR EACH ROW WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL AND NOT NEW.is_revoked)
    EXECUTE FUNCTION record_session_revocation();

-- A deleted account's sessions go with it; those that the purge deletes have ended or expired.
CREATE TRIGGER sessions_deleted AFTER DELETE ON sessions
    FOR EACH ROW WHEN (OLD.ended_at IS NULL AND OLD.expires_at > now())
    EXECUTE FUNCTION record_session_revocation();
