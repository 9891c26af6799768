-- Files of messages: those that customers send, fetched from the channel, and those that members upload to send.
CREATE TABLE attachments (
    business_id uuid NOT NULL CONSTRAINT attachments_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    file_name text,
    mime_type text NOT NULL,
    bytes bigint NOT NULL,
    -- in hexadecimal
    sha256 text NOT NULL,
    uploaded_by uuid,
    -- of one that no message has: when it is deleted
    expires_at timestamptz,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT attachments_bytes_check CHECK (bytes > 0),
    CONSTRAINT attachments_uploaded_by_fkey FOREIGN KEY (business_id, uploaded_by)
        REFERENCES memberships (business_id, user_id) ON DELETE SET NULL (uploaded_by)
);
CREATE INDEX attachments_uploaded_by_idx ON attachments (business_id, uploaded_by, created_at, id);
CREATE INDEX attachments_created_at_idx ON attachments (business_id, created_at, id);
CREATE INDEX attachments_expires_at_idx ON attachments (expires_at) WHERE expires_at IS NOT NULL;
-- Without entries in the audit log: the message has those, and a file's name is not kept longer than the file.
SELECT rapport_log_changes('attachments', 'business_id', '');
SELECT rapport_enable_tenant_rls('attachments');

-- Their bytes, a mebibyte each. They are written before their attachment, which is made when the whole file is there.
CREATE TABLE attachment_parts (
    business_id uuid NOT NULL CONSTRAINT attachment_parts_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    attachment_id uuid NOT NULL,
    number integer NOT NULL,
    data bytea NOT NULL,
    -- null while its attachment is there: what broke off, and what has lost it, is cleared away
    pending_since timestamptz DEFAULT now(),
    PRIMARY KEY (business_id, id)
);
-- the service reads substrings, which compressed data would have to be unpacked for
ALTER TABLE attachment_parts ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX attachment_parts_number_key ON attachment_parts (business_id, attachment_id, number);
CREATE INDEX attachment_parts_pending_since_idx ON attachment_parts (pending_since) WHERE pending_since IS NOT NULL;
SELECT rapport_enable_tenant_rls('attachment_parts');

-- The bytes go with their attachment, whatever deletes it: a task deletes them within a minute or two, some at a time. (Here a hundred files
-- would take longer than a statement may.)
CREATE FUNCTION rapport_drop_attachment_parts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE attachment_parts SET pending_since = '-infinity' WHERE business_id = OLD.business_id AND attachment_id = OLD.id;
    RETURN NULL;
END $$;
CREATE TRIGGER drop_parts AFTER DELETE ON attachments FOR EACH ROW EXECUTE FUNCTION rapport_drop_attachment_parts();

ALTER TABLE messages ADD COLUMN attachment_id uuid;
-- squawk-ignore constraint-missing-not-valid, adding-foreign-key-constraint
ALTER TABLE messages ADD CONSTRAINT messages_attachment_id_fkey FOREIGN KEY (business_id, attachment_id)
    REFERENCES attachments (business_id, id) ON DELETE SET NULL (attachment_id);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX messages_attachment_id_idx ON messages (business_id, attachment_id, sent_at, id) WHERE attachment_id IS NOT NULL;
SELECT rapport_log_changes('messages');

-- An attachment goes with the last message that has it: when that is revoked, erased or deleted for good. Its row is locked first, so that
-- of two messages that go at once the second one sees that it is the last.
CREATE FUNCTION rapport_drop_attachment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM attachments WHERE business_id = OLD.business_id AND id = OLD.attachment_id FOR UPDATE;
    DELETE FROM attachments a WHERE a.business_id = OLD.business_id AND a.id = OLD.attachment_id
        AND NOT EXISTS (SELECT FROM messages m WHERE m.business_id = a.business_id AND m.attachment_id = a.id);
    RETURN NULL;
END $$;
CREATE TRIGGER drop_attachment_of_changed AFTER UPDATE ON messages FOR EACH ROW
    WHEN (OLD.attachment_id IS NOT NULL AND NEW.attachment_id IS DISTINCT FROM OLD.attachment_id)
    EXECUTE FUNCTION rapport_drop_attachment();
CREATE TRIGGER drop_attachment_of_deleted AFTER DELETE ON messages FOR EACH ROW
    WHEN (OLD.attachment_id IS NOT NULL) EXECUTE FUNCTION rapport_drop_attachment();

-- Files that are to be fetched from the channel. A row goes when its message has the file, or will never have it.
CREATE TABLE media_fetches (
    business_id uuid NOT NULL CONSTRAINT media_fetches_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    message_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    -- the channel's id of the file
    media_id text NOT NULL,
    due_at timestamptz NOT NULL DEFAULT now(),
    tries integer NOT NULL DEFAULT 0,
    -- the number of the last claim: another process that claims it has a larger one
    claim bigint NOT NULL DEFAULT 0,
    -- when the channel forgets the file
    gives_up_at timestamptz NOT NULL,
    error text,
    PRIMARY KEY (business_id, id),
    CONSTRAINT media_fetches_message_id_fkey FOREIGN KEY (business_id, message_id)
        REFERENCES messages (business_id, id) ON DELETE CASCADE,
    CONSTRAINT media_fetches_channel_id_fkey FOREIGN KEY (business_id, channel_id)
        REFERENCES channels (business_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX media_fetches_message_id_key ON media_fetches (business_id, message_id);
CREATE INDEX media_fetches_channel_id_idx ON media_fetches (business_id, channel_id, due_at);
CREATE INDEX media_fetches_gives_up_at_idx ON media_fetches (gives_up_at);
SELECT rapport_enable_tenant_rls('media_fetches');

-- A message that names a file has it fetched: Meta keeps one for seven days. One of the past that comes late is tried for a day at least.
-- (Here, so that processes of an earlier release, which still receive messages, do not forget it.)
CREATE FUNCTION rapport_fetch_media() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO media_fetches (business_id, message_id, channel_id, media_id, gives_up_at)
        SELECT NEW.business_id, NEW.id, c.channel_id, NEW.media->>'id', greatest(NEW.sent_at + interval '7 days', now() + interval '1 day')
        FROM conversations c WHERE c.business_id = NEW.business_id AND c.id = NEW.conversation_id AND c.channel_id IS NOT NULL
        ON CONFLICT (business_id, message_id) DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER fetch_media_of_new AFTER INSERT ON messages FOR EACH ROW
    WHEN (NEW.media_state = 'pending' AND NEW.media ? 'id') EXECUTE FUNCTION rapport_fetch_media();
CREATE TRIGGER fetch_media_of_changed AFTER UPDATE ON messages FOR EACH ROW
    WHEN (NEW.media_state = 'pending' AND NEW.media ? 'id' AND NOT coalesce(OLD.media ? 'id', false)) EXECUTE FUNCTION rapport_fetch_media();

-- What has come already.
INSERT INTO media_fetches (business_id, message_id, channel_id, media_id, gives_up_at)
    SELECT m.business_id, m.id, c.channel_id, m.media->>'id', m.sent_at + interval '7 days' FROM messages m
    JOIN conversations c ON c.business_id = m.business_id AND c.id = m.conversation_id
    WHERE m.media_state = 'pending' AND m.media ? 'id' AND c.channel_id IS NOT NULL AND m.sent_at > now() - interval '7 days';
UPDATE messages m SET media_state = 'gone', version = version + 1, updated_at = now() WHERE media_state = 'pending' AND media ? 'id'
    AND NOT EXISTS (SELECT FROM media_fetches f WHERE f.business_id = m.business_id AND f.message_id = m.id);
