-- The log also says what the client called itself, and is looked up by who acted, by what happened
-- and by the id of a request.
ALTER TABLE audit_log ADD COLUMN user_agent text;

CREATE INDEX audit_log_actor_id_created_at_idx ON audit_log (actor_id, created_at) WHERE actor_id IS NOT NULL;
CREATE INDEX audit_log_event_created_at_idx ON audit_log (event, created_at);
CREATE INDEX audit_log_request_id_idx ON audit_log (request_id) WHERE request_id IS NOT NULL;
