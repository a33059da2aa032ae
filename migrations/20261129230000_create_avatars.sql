-- Pictures of users. The bytes are in the object store, encoded by the service.
CREATE TABLE avatars (
    user_id uuid CONSTRAINT avatars_pkey PRIMARY KEY
        CONSTRAINT avatars_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    -- Part of the public address, random, and the same for every picture of the user.
    id uuid NOT NULL CONSTRAINT avatars_id_key UNIQUE,
    -- Part of the object's key, new for each picture.
    object_id uuid NOT NULL,
    content_type text NOT NULL CONSTRAINT avatars_content_type_check CHECK (content_type IN ('image/jpeg', 'image/webp')),
    updated_at timestamptz NOT NULL
);
