ALTER TABLE businesses ADD COLUMN phone_number_id text;
-- The oldest number of each business: it had one.
UPDATE businesses b SET phone_number_id = c.phone_number_id
FROM (SELECT DISTINCT ON (business_id) business_id, phone_number_id FROM channels
    WHERE phone_number_id IS NOT NULL AND deleted_at IS NULL ORDER BY business_id, created_at, id) c
WHERE c.business_id = b.id;
ALTER TABLE businesses ADD CONSTRAINT businesses_phone_number_id_key UNIQUE (phone_number_id);
SELECT rapport_log_changes('businesses', 'id');
-- Of an address that is open on several channels, what was used last stays open.
UPDATE conversations v SET status = 'closed' FROM (
    SELECT business_id, id, row_number() OVER (PARTITION BY business_id, channel, address ORDER BY last_message_at DESC, id) AS place
    FROM conversations WHERE status <> 'closed' AND deleted_at IS NULL) o
WHERE o.business_id = v.business_id AND o.id = v.id AND o.place > 1;
DROP INDEX conversations_address_key, conversations_channel_id_idx;
ALTER TABLE conversations DROP COLUMN channel_id;
CREATE UNIQUE INDEX conversations_address_key ON conversations (business_id, channel, address)
    WHERE status <> 'closed' AND deleted_at IS NULL;
SELECT rapport_log_changes('conversations');
DROP TABLE channels;
DROP FUNCTION rapport_log_channels();
