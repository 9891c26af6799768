-- What is done by mail: a new password for who forgot theirs, and joining a business. Whoever holds the token of a mail has
-- the mailbox; of each only the SHA-256 is kept: it carries 256 random bits, so a slow hash would add nothing.

-- A person's, like the password that they lead to.
CREATE TABLE password_tokens (
    hash bytea PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT password_tokens_user_id_fkey REFERENCES users ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX password_tokens_user_id_idx ON password_tokens (user_id);
-- those whose time is over are cleared away
CREATE INDEX password_tokens_expires_at_idx ON password_tokens (expires_at);

-- Who was asked to join and has not answered. By address, not by person: whether there is such a person is not said.
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
-- the last one counts
CREATE UNIQUE INDEX invitations_email_key ON invitations (business_id, lower(email));
CREATE INDEX invitations_created_at_idx ON invitations (business_id, created_at, id);
SELECT rapport_cache('invitations');
SELECT rapport_wall('invitations');
SELECT rapport_audit('invitations');

-- Sessions whose time is over are cleared away, too.
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);
