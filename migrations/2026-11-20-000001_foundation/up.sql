-- The foundation every room stands on: extensions, ids, the tenant and who may enter it.
-- Needs PostgreSQL 15 or newer (ON DELETE SET NULL with a column list).

CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS btree_gin;
CREATE EXTENSION IF NOT EXISTS btree_gist;

-- UUIDv7 (RFC 9562, section 5.7) for rows that are born in SQL; the service makes its own.
-- PostgreSQL has uuidv7() from 18 on only.
CREATE FUNCTION rapport_uuid_v7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT encode(
        set_byte(set_byte(
            overlay(uuid_send(gen_random_uuid())
                    PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6),
            6, (get_byte(uuid_send(gen_random_uuid()), 6) & 15) | 112),
            8, (get_byte(uuid_send(gen_random_uuid()), 8) & 63) | 128),
        'hex')::uuid
$$;

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
    CONSTRAINT businesses_slug_check CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$')
);
COMMENT ON COLUMN businesses.country IS 'ISO 3166-1 alpha-2: how phone numbers without a country code are read';

-- People are global: one person may belong to several businesses.
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
    -- SHA-256 of the whole key: the key carries 256 random bits, so a slow hash would add nothing
    hash bytea NOT NULL CONSTRAINT api_keys_hash_key UNIQUE,
    last_used_at timestamptz,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id)
);
CREATE INDEX api_keys_created_at_idx ON api_keys (business_id, created_at, id);

-- The people of a business, as the API shows them.
CREATE VIEW business_users AS
    SELECT m.business_id, u.id, u.email, u.name, m.role, m.id AS membership_id,
           u.version + m.version AS version, m.created_at, greatest(u.updated_at, m.updated_at) AS updated_at,
           lower(u.name || ' ' || u.email) AS search
    FROM memberships m JOIN users u ON u.id = m.user_id;
