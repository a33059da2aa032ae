-- What administrators find accounts by: the beginning of an address or a name, and the few that
-- are not like the others. `text_pattern_ops` orders by bytes, so that a prefix is a range in any collation.
CREATE INDEX users_email_prefix_idx ON users (email text_pattern_ops);
CREATE INDEX users_full_name_prefix_idx
    ON users (lower(COALESCE(first_name || ' ', '') || COALESCE(last_name, '')) text_pattern_ops);
CREATE INDEX users_last_name_prefix_idx ON users (lower(last_name) text_pattern_ops) WHERE last_name IS NOT NULL;
CREATE INDEX users_created_at_idx ON users (created_at, id);
CREATE INDEX users_admins_idx ON users (created_at, id) WHERE role = 'admin';
CREATE INDEX users_disabled_idx ON users (created_at, id) WHERE disabled_at IS NOT NULL;
