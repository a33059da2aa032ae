-- What owns rows and has a plan: the personal account of a user, with the user's id, or an organisation with
-- members. An organisation that was deleted is kept for a while, and nobody can act for it.
CREATE TABLE accounts (
    id uuid CONSTRAINT accounts_pkey PRIMARY KEY,
    kind text NOT NULL CONSTRAINT accounts_kind_check CHECK (kind IN ('personal', 'organisation')),
    -- Of a personal account, so that it is deleted with its user.
    user_id uuid CONSTRAINT accounts_user_id_key UNIQUE
        CONSTRAINT accounts_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    name text CONSTRAINT accounts_name_check CHECK (char_length(name) BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    CONSTRAINT accounts_personal_check CHECK (
        (kind = 'personal') = (user_id IS NOT NULL) AND (user_id IS NULL OR user_id = id)),
    CONSTRAINT accounts_organisation_check CHECK ((kind = 'organisation') = (name IS NOT NULL))
);

CREATE INDEX accounts_deleted_at_idx ON accounts (deleted_at) WHERE deleted_at IS NOT NULL;
-- Organisations for administrators, newest first.
CREATE INDEX accounts_organisations_idx ON accounts (created_at, id) WHERE kind = 'organisation';

-- Current and former slugs of organisations. A former one leads to its organisation until it is purged, and
-- is taken by nobody else until then.
CREATE TABLE account_slugs (
    slug text CONSTRAINT account_slugs_pkey PRIMARY KEY
        CONSTRAINT account_slugs_slug_check CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND char_length(slug) BETWEEN 3 AND 40),
    account_id uuid NOT NULL CONSTRAINT account_slugs_account_id_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    replaced_at timestamptz
);

CREATE INDEX account_slugs_account_id_idx ON account_slugs (account_id);
CREATE UNIQUE INDEX account_slugs_current_key ON account_slugs (account_id) WHERE replaced_at IS NULL;
CREATE INDEX account_slugs_replaced_at_idx ON account_slugs (replaced_at) WHERE replaced_at IS NOT NULL;

CREATE TABLE memberships (
    account_id uuid NOT NULL CONSTRAINT memberships_account_id_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    user_id uuid NOT NULL CONSTRAINT memberships_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    role text NOT NULL CONSTRAINT memberships_role_check CHECK (role IN ('owner', 'admin', 'member', 'billing', 'read_only')),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT memberships_pkey PRIMARY KEY (account_id, user_id)
);

CREATE INDEX memberships_user_id_idx ON memberships (user_id);
-- Members of an organisation in the order of their list.
CREATE INDEX memberships_account_id_created_at_idx ON memberships (account_id, created_at, user_id);

-- Open and expired invitations; one that is accepted, declined or revoked is deleted. The email that carries the
-- token is written later, and again when it is resent.
CREATE TABLE invitations (
    id uuid CONSTRAINT invitations_pkey PRIMARY KEY,
    account_id uuid NOT NULL CONSTRAINT invitations_account_id_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    email text NOT NULL CONSTRAINT invitations_email_check CHECK (char_length(email) BETWEEN 3 AND 254),
    role text NOT NULL CONSTRAINT invitations_role_check CHECK (role IN ('owner', 'admin', 'member', 'billing', 'read_only')),
    token_hash bytea CONSTRAINT invitations_token_hash_key UNIQUE
        CONSTRAINT invitations_token_hash_check CHECK (octet_length(token_hash) = 32),
    invited_by uuid CONSTRAINT invitations_invited_by_fkey REFERENCES users (id) ON DELETE SET NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT invitations_account_id_email_key UNIQUE (account_id, email)
);

CREATE INDEX invitations_account_id_created_at_idx ON invitations (account_id, created_at, id);
CREATE INDEX invitations_email_idx ON invitations (email);
CREATE INDEX invitations_invited_by_idx ON invitations (invited_by);
CREATE INDEX invitations_expires_at_idx ON invitations (expires_at);

-- Addresses that want no more email from an organisation, since they declined its invitation.
CREATE TABLE invitation_blocks (
    account_id uuid NOT NULL CONSTRAINT invitation_blocks_account_id_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    email text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT invitation_blocks_pkey PRIMARY KEY (account_id, email)
);

-- Every user has a personal account, also one whom the release before inserts. The setting is the exception of
-- row security for it; a SET clause of the function would need a superuser.
CREATE FUNCTION add_personal_account() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('app.exception', true), '');
BEGIN
    PERFORM set_config('app.exception', 'sign_up', true);
    INSERT INTO public.accounts (id, kind, user_id, created_at, updated_at)
    VALUES (NEW.id, 'personal', NEW.id, NEW.created_at, NEW.created_at)
    ON CONFLICT DO NOTHING;
    PERFORM set_config('app.exception', before, true);
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION add_personal_account() FROM PUBLIC;

CREATE TRIGGER users_add_personal_account AFTER INSERT ON users
FOR EACH ROW EXECUTE FUNCTION add_personal_account();

-- Adds the personal accounts of earlier users, in batches of their own transactions, beside writers. Can be repeated.
CREATE PROCEDURE fill_personal_accounts() LANGUAGE plpgsql AS $$
DECLARE
    last uuid := '00000000-0000-0000-0000-000000000000';
    next uuid;
BEGIN
    LOOP
        SELECT id INTO next FROM public.users WHERE id > last ORDER BY id OFFSET 4999 LIMIT 1;
        INSERT INTO public.accounts (id, kind, user_id, created_at, updated_at)
        SELECT id, 'personal', id, created_at, created_at FROM public.users
        WHERE id > last AND (next IS NULL OR id <= next)
        ON CONFLICT DO NOTHING;
        COMMIT;
        EXIT WHEN next IS NULL;
        last := next;
    END LOOP;
END
$$;

REVOKE ALL ON PROCEDURE fill_personal_accounts() FROM PUBLIC;
