DROP TABLE inbound_updates, message_reactions;
DROP FUNCTION rapport_log_inbound_updates(), rapport_log_message_reactions();
DROP INDEX conversations_peer_id_key;
ALTER TABLE conversations DROP COLUMN peer_id, DROP COLUMN window_closed_at;
SELECT rapport_log_changes('conversations');
CREATE OR REPLACE VIEW stat_turns_now WITH (security_invoker = true) AS
    SELECT t.business_id, t.conversation_id, t.id AS message_id, t.at AS answered_at, t.author_id, extract(epoch FROM t.at - t.asked_at) AS seconds
    FROM (
        SELECT n.business_id, n.conversation_id, n.id, n.at, n.kind, n.author_id,
            min(n.at) FILTER (WHERE n.kind = 'contact') OVER (PARTITION BY n.business_id, n.conversation_id, n.turn) AS asked_at
        FROM (
            SELECT e.business_id, e.conversation_id, e.id, e.at, e.kind, e.author_id, count(*) FILTER (WHERE e.kind <> 'contact')
                OVER (PARTITION BY e.business_id, e.conversation_id ORDER BY e.at, e.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS turn
            FROM (
                SELECT m.business_id, m.conversation_id, m.id, m.sent_at AS at, m.author AS kind, m.author_id FROM messages m
                WHERE m.author IN ('contact', 'user') AND m.status <> 'failed' AND m.deleted_at IS NULL AND rapport_is_counted(m.sent_at)
                UNION ALL
                SELECT c.business_id, c.conversation_id, c.id, c.closed_at AS at, 'closing'::text AS kind, NULL::uuid AS author_id FROM conversation_closings c
            ) e
        ) n
    ) t
    WHERE t.kind = 'user' AND t.asked_at IS NOT NULL;
ALTER TABLE messages
    DROP COLUMN origin, DROP COLUMN reply_to_id, DROP COLUMN author_contact_id, DROP COLUMN payload, DROP COLUMN error, DROP COLUMN pricing,
    DROP COLUMN edited_at, DROP COLUMN edited_by, DROP COLUMN revoked_at, DROP COLUMN media_state;
SELECT rapport_log_changes('messages');
SELECT rapport_correct_all_statistics();
