DROP TABLE media_fetches;
DROP TRIGGER drop_attachment_of_changed ON messages;
DROP TRIGGER drop_attachment_of_deleted ON messages;
ALTER TABLE messages DROP COLUMN attachment_id;
SELECT rapport_log_changes('messages');
DROP TABLE attachment_parts, attachments;
DROP FUNCTION rapport_drop_attachment(), rapport_drop_attachment_parts(), rapport_log_attachments();
