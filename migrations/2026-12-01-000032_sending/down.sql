CREATE OR REPLACE FUNCTION rapport_can_reply() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.can_reply := NEW.channel <> 'whatsapp' OR coalesce(NEW.window_expires_at > clock_timestamp(), false);
    RETURN NEW;
END $$;
DROP TRIGGER conversations_can_reply ON conversations;
CREATE TRIGGER conversations_can_reply BEFORE INSERT OR UPDATE OF channel, window_expires_at, can_reply ON conversations
    FOR EACH ROW EXECUTE FUNCTION rapport_can_reply();
ALTER TABLE conversations ENABLE ALWAYS TRIGGER conversations_can_reply;
DROP TABLE send_limits;
DROP TABLE message_attempts;
DROP FUNCTION rapport_log_message_attempts();
UPDATE messages SET status = 'queued' WHERE status = 'uncertain';
ALTER TABLE messages DROP CONSTRAINT messages_status_check;
ALTER TABLE messages ADD CONSTRAINT messages_status_check CHECK (status IN ('received', 'queued', 'sent', 'delivered', 'read', 'failed')
        AND CASE direction WHEN 'inbound' THEN status IN ('received', 'read') ELSE status <> 'received' END);
