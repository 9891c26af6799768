-- How people come in: a password each, sessions of one business each, and the tokens that renew them (docs/SECURITY.md).

-- Apart from the person: a new password changes nothing that anyone is shown.
CREATE TABLE passwords (
    user_id uuid PRIMARY KEY CONSTRAINT passwords_user_id_fkey REFERENCES users ON DELETE CASCADE,
    -- argon2id, in PHC's string format
    hash text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- A person signed in to one business. Leaving the business ends them.
CREATE TABLE sessions (
    business_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    -- by which a person recognises a device
    user_agent text,
    address text,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (business_id, id),
    CONSTRAINT sessions_user_id_fkey FOREIGN KEY (business_id, user_id)
        REFERENCES memberships (business_id, user_id) ON DELETE CASCADE
);
CREATE INDEX sessions_user_id_idx ON sessions (business_id, user_id);
-- a new password ends them in every business
CREATE INDEX sessions_person_idx ON sessions (user_id);
SELECT rapport_cache('sessions');

-- Each renews a session once. They are kept until the session ends, so that one that is used again is recognised.
CREATE TABLE refresh_tokens (
    business_id uuid NOT NULL,
    id uuid NOT NULL,
    session_id uuid NOT NULL,
    -- the token that it was given for; none at sign-in
    parent_id uuid,
    -- SHA-256: the token carries 256 random bits, so a slow hash would add nothing
    hash bytea NOT NULL CONSTRAINT refresh_tokens_hash_key UNIQUE,
    used_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT refresh_tokens_session_id_fkey FOREIGN KEY (business_id, session_id) REFERENCES sessions ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_session_id_idx ON refresh_tokens (business_id, session_id, parent_id);

-- Secrets that all replicas share and nobody configures: what access tokens are signed with.
CREATE TABLE service_secrets (
    name text PRIMARY KEY,
    secret bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Keys that end by themselves, and keys whose predecessor still works for a while.
ALTER TABLE api_keys
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN previous_hash bytea CONSTRAINT api_keys_previous_hash_key UNIQUE,
    ADD COLUMN previous_until timestamptz;
