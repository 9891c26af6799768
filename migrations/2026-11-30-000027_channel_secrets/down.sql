DROP TABLE channel_secrets;
DROP FUNCTION rapport_log_channel_secrets();
CREATE OR REPLACE FUNCTION rapport_audit_omitted() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY['version', 'created_at', 'updated_at', 'search', 'sort_name', 'hash', 'previous_hash',
        'secret', 'previous_secret', 'last_used_at', 'failing_since', 'last_message_at', 'unread_count', 'unread_new', 'unread_since', 'window_expires_at', 'deleted_at']
$$;
