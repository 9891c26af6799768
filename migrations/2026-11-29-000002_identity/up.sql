-- Tenants, their users, and how users and programs authenticate (docs/SECURITY.md).
--
-- Tokens, keys and secrets that the service hands out are kept as SHA-256 only: each carries 256 random bits, so a slow hash
-- would add nothing.

CREATE TABLE businesses (
    id uuid PRIMARY KEY DEFAULT rapport_uuid_v7(),
    name text NOT NULL,
    slug text NOT NULL CONSTRAINT businesses_slug_key UNIQUE,
    time_zone text NOT NULL DEFAULT 'UTC',
    currency text NOT NULL DEFAULT 'EUR',
    country text NOT NULL DEFAULT 'US',
    phone_number_id text CONSTRAINT businesses_phone_number_id_key UNIQUE,
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- `assigned`: the role `agent` reads only leads and conversations assigned to it, with what belongs to them
    agent_visibility text NOT NULL DEFAULT 'all',
    -- how a contact is erased
    erasure text NOT NULL DEFAULT 'anonymise',
    CONSTRAINT businesses_slug_check CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    CONSTRAINT businesses_agent_visibility_check CHECK (agent_visibility IN ('all', 'assigned')),
    CONSTRAINT businesses_erasure_check CHECK (erasure IN ('anonymise', 'delete'))
);
COMMENT ON COLUMN businesses.country IS 'ISO 3166-1 alpha-2: how phone numbers without a country code are read';

-- Users are global: one user may belong to several businesses.
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT rapport_uuid_v7(),
    email text NOT NULL,
    name text NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX users_email_key ON users (lower(email));

CREATE TABLE memberships (
    business_id uuid NOT NULL CONSTRAINT memberships_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    user_id uuid NOT NULL CONSTRAINT memberships_user_id_fkey REFERENCES users ON DELETE CASCADE,
    role text NOT NULL CONSTRAINT memberships_role_check CHECK (role IN ('owner', 'admin', 'manager', 'agent', 'viewer')),
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    -- the target of every "assigned to" and "owned by" link: only a member can be assigned
    CONSTRAINT memberships_user_id_key UNIQUE (business_id, user_id)
);
CREATE INDEX memberships_user_id_idx ON memberships (user_id);
CREATE INDEX memberships_created_at_idx ON memberships (business_id, created_at, id);

CREATE TABLE api_keys (
    business_id uuid NOT NULL CONSTRAINT api_keys_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    name text NOT NULL,
    role text NOT NULL CONSTRAINT api_keys_role_check CHECK (role IN ('owner', 'admin', 'manager', 'agent', 'viewer')),
    prefix text NOT NULL,
    -- SHA-256 of the whole key
    hash bytea NOT NULL CONSTRAINT api_keys_hash_key UNIQUE,
    last_used_at timestamptz,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    -- a rotated key works until previous_until
    previous_hash bytea CONSTRAINT api_keys_previous_hash_key UNIQUE,
    previous_until timestamptz,
    -- `area:action`, as the service names them; null: all that the role may do
    permissions text[],
    PRIMARY KEY (business_id, id)
);
CREATE INDEX api_keys_created_at_idx ON api_keys (business_id, created_at, id);

-- The users of a business, as the API shows them. Row-level security applies to the role that queries the view.
CREATE VIEW business_users WITH (security_invoker = true) AS
    SELECT m.business_id, u.id, u.email, u.name, m.role, m.id AS membership_id,
           u.version + m.version AS version, m.created_at, greatest(u.updated_at, m.updated_at) AS updated_at,
           lower(u.name || ' ' || u.email) AS search
    FROM memberships m JOIN users u ON u.id = m.user_id;

-- A table of its own, so that a new password changes neither the version nor the audit log of its user.
CREATE TABLE passwords (
    user_id uuid PRIMARY KEY CONSTRAINT passwords_user_id_fkey REFERENCES users ON DELETE CASCADE,
    -- argon2id, in PHC's string format
    hash text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- A user signed in to one business. Leaving the business deletes its sessions.
CREATE TABLE sessions (
    business_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    -- by which a user recognises a device
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
-- expired ones are purged
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);

-- Each token renews its session once. Used ones are kept until the session ends, so that reuse is detected.
CREATE TABLE refresh_tokens (
    business_id uuid NOT NULL,
    id uuid NOT NULL,
    session_id uuid NOT NULL,
    -- the token that it replaces; null at sign-in
    parent_id uuid,
    hash bytea NOT NULL CONSTRAINT refresh_tokens_hash_key UNIQUE,
    used_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT refresh_tokens_session_id_fkey FOREIGN KEY (business_id, session_id) REFERENCES sessions ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_session_id_idx ON refresh_tokens (business_id, session_id, parent_id);

-- Secrets that all replicas share and that are not configured, such as the key that signs access tokens.
CREATE TABLE service_secrets (
    name text PRIMARY KEY,
    secret bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Tokens of password-reset mails. They belong to a user and to no business, as the password does.
CREATE TABLE password_tokens (
    hash bytea PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT password_tokens_user_id_fkey REFERENCES users ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX password_tokens_user_id_idx ON password_tokens (user_id);
-- expired ones are purged
CREATE INDEX password_tokens_expires_at_idx ON password_tokens (expires_at);

-- Open invitations to a business. By address and not by user, so that an invitation does not disclose whether the address
-- has an account.
CREATE TABLE invitations (
    business_id uuid NOT NULL CONSTRAINT invitations_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    email text NOT NULL,
    name text NOT NULL,
    role text NOT NULL CONSTRAINT invitations_role_check CHECK (role IN ('owner', 'admin', 'manager', 'agent', 'viewer')),
    hash bytea NOT NULL CONSTRAINT invitations_hash_key UNIQUE,
    expires_at timestamptz NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id)
);
-- a new invitation replaces the one before
CREATE UNIQUE INDEX invitations_email_key ON invitations (business_id, lower(email));
CREATE INDEX invitations_created_at_idx ON invitations (business_id, created_at, id);

-- OpenID Connect: the user of an issuer and subject. A subject never changes, as an e-mail address may.
CREATE TABLE identities (
    issuer text NOT NULL,
    subject text NOT NULL,
    user_id uuid NOT NULL CONSTRAINT identities_user_id_fkey REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_user_id_idx ON identities (user_id);

-- OpenID Connect logins that have begun and not returned from the provider.
CREATE TABLE oidc_login_attempts (
    -- SHA-256 of the `state` that the provider returns, and of a secret that only the browser has that began
    state bytea PRIMARY KEY,
    secret bytea NOT NULL,
    nonce text NOT NULL,
    -- PKCE (RFC 7636)
    verifier text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX oidc_login_attempts_expires_at_idx ON oidc_login_attempts (expires_at);

-- The tenant's role sees the users of its own business only. These functions run as the owner of the tables and tell or do
-- what concerns users of several businesses.
--
-- Whether the user is a member of another business too.
CREATE FUNCTION rapport_belongs_elsewhere(person uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    $$ SELECT EXISTS (SELECT FROM memberships WHERE user_id = person AND business_id IS DISTINCT FROM rapport_business()) $$;
REVOKE EXECUTE ON FUNCTION rapport_belongs_elsewhere(uuid) FROM PUBLIC;

-- Adds a user unless the address is taken. Returns whether it did.
CREATE FUNCTION rapport_add_person(person uuid, address text, called text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO users (id, email, name) VALUES (person, address, called) ON CONFLICT (lower(email)) DO NOTHING;
    RETURN FOUND;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_add_person(uuid, text, text) FROM PUBLIC;

-- Deletes a user without memberships.
CREATE FUNCTION rapport_erase_user(person uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
    $$ DELETE FROM users WHERE id = person AND NOT EXISTS (SELECT FROM memberships m WHERE m.user_id = users.id) $$;
REVOKE EXECUTE ON FUNCTION rapport_erase_user(uuid) FROM PUBLIC;
