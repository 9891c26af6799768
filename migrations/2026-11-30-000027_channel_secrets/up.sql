-- Secrets of channels: sealed with a key that is not in the database, or the name of a file.

-- Columns without entries in the audit log: derived ones and secrets.
CREATE OR REPLACE FUNCTION rapport_audit_omitted() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY['version', 'created_at', 'updated_at', 'search', 'sort_name', 'hash', 'previous_hash',
        'secret', 'previous_secret', 'sealed', 'digest', 'last_used_at', 'failing_since', 'last_message_at', 'unread_count', 'unread_new', 'unread_since',
        'window_expires_at', 'deleted_at']
$$;

CREATE TABLE channel_secrets (
    business_id uuid NOT NULL CONSTRAINT channel_secrets_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    channel_id uuid NOT NULL,
    kind text NOT NULL,
    file_name text,
    sealed bytea,
    -- SHA-256 of a verify token, by which the channel that it belongs to is found
    digest bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT channel_secrets_kind_check CHECK (kind IN ('access_token', 'app_secret', 'verify_token')),
    CONSTRAINT channel_secrets_sealed_check CHECK ((sealed IS NULL) <> (file_name IS NULL)),
    CONSTRAINT channel_secrets_digest_check CHECK ((digest IS NULL) = (kind <> 'verify_token')),
    CONSTRAINT channel_secrets_channel_id_fkey FOREIGN KEY (business_id, channel_id)
        REFERENCES channels (business_id, id) ON DELETE CASCADE
);
CREATE INDEX channel_secrets_channel_id_idx ON channel_secrets (business_id, channel_id, kind, created_at, id);
CREATE INDEX channel_secrets_digest_idx ON channel_secrets (digest) WHERE digest IS NOT NULL;
SELECT rapport_log_changes('channel_secrets');
SELECT rapport_enable_tenant_rls('channel_secrets');
