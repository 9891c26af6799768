-- People of another system (Monday.com and the like), kept by batches of upserts, and found by part of their name.
CREATE TABLE external_users (
    business_id uuid NOT NULL CONSTRAINT external_users_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    external_id text NOT NULL,
    source text,
    name text NOT NULL,
    email text,
    title text,
    active boolean NOT NULL DEFAULT true,
    user_id uuid,
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    search text NOT NULL GENERATED ALWAYS AS (lower(name || ' ' || coalesce(email, ''))) STORED,
    PRIMARY KEY (business_id, id),
    CONSTRAINT external_users_user_id_fkey FOREIGN KEY (business_id, user_id)
        REFERENCES memberships (business_id, user_id) ON DELETE SET NULL (user_id)
);
CREATE UNIQUE INDEX external_users_external_id_key ON external_users (business_id, external_id) WHERE deleted_at IS NULL;
CREATE INDEX external_users_created_at_idx ON external_users (business_id, created_at, id);
CREATE INDEX external_users_name_idx ON external_users (business_id, lower(name) COLLATE "C", id);
CREATE INDEX external_users_user_id_idx ON external_users (business_id, user_id, created_at, id) WHERE user_id IS NOT NULL;
CREATE INDEX external_users_deleted_at_idx ON external_users (business_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX external_users_search_idx ON external_users USING gin (business_id, search gin_trgm_ops, metadata jsonb_path_ops);
SELECT rapport_log_changes('external_users');
SELECT rapport_enable_tenant_rls('external_users');
