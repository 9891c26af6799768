DROP TRIGGER conversations_can_reply ON conversations;
DROP FUNCTION rapport_can_reply();
ALTER TABLE conversations DROP COLUMN can_reply;
CREATE OR REPLACE FUNCTION rapport_audit_omitted() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY['version', 'created_at', 'updated_at', 'search', 'sort_name', 'hash', 'previous_hash',
        'secret', 'previous_secret', 'sealed', 'digest', 'last_used_at', 'failing_since', 'last_message_at', 'unread_count', 'unread_new', 'unread_since',
        'window_expires_at', 'deleted_at']
$$;
SELECT rapport_log_changes('conversations');
SELECT rapport_log_changes('messages');
SELECT rapport_log_changes('message_reactions');
SELECT rapport_log_changes('contact_identities');
