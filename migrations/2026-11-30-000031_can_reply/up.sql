-- Whether WhatsApp lets free text through now. Stored, because a cached answer must not depend on the clock: a trigger sets it where the
-- window changes, a background task where it ends.
ALTER TABLE conversations ADD COLUMN can_reply boolean NOT NULL DEFAULT true;

-- Columns without entries in the audit log: derived ones and secrets.
CREATE OR REPLACE FUNCTION rapport_audit_omitted() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY['version', 'created_at', 'updated_at', 'search', 'sort_name', 'hash', 'previous_hash',
        'secret', 'previous_secret', 'sealed', 'digest', 'last_used_at', 'failing_since', 'last_message_at', 'unread_count', 'unread_new', 'unread_since',
        'window_expires_at', 'window_closed_at', 'can_reply', 'peer_id', 'match_key', 'names_contact', 'profile_name_by', 'edited_by', 'reactor', 'deleted_at']
$$;

CREATE FUNCTION rapport_can_reply() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.can_reply := NEW.channel <> 'whatsapp' OR coalesce(NEW.window_expires_at > clock_timestamp(), false);
    RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_can_reply() FROM PUBLIC;

-- (Without the log of changes, which would have a row for each; one of all in a business is enough.)
ALTER TABLE conversations DISABLE TRIGGER log_change;
UPDATE conversations SET can_reply = false WHERE channel = 'whatsapp' AND coalesce(window_expires_at <= clock_timestamp(), true);
ALTER TABLE conversations ENABLE ALWAYS TRIGGER log_change;
SELECT rapport_log_all(id, 'conversations') FROM businesses;

CREATE TRIGGER conversations_can_reply BEFORE INSERT OR UPDATE OF channel, window_expires_at, can_reply ON conversations
    FOR EACH ROW EXECUTE FUNCTION rapport_can_reply();
ALTER TABLE conversations ENABLE ALWAYS TRIGGER conversations_can_reply;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX conversations_can_reply_idx ON conversations (window_expires_at) WHERE can_reply AND channel = 'whatsapp';
SELECT rapport_log_changes('conversations');
SELECT rapport_log_changes('messages');
SELECT rapport_log_changes('message_reactions');
SELECT rapport_log_changes('contact_identities');
