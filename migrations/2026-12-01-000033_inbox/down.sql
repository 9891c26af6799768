DROP TABLE canned_responses, read_positions, conversation_labels, labels;
DROP FUNCTION rapport_log_canned_responses(), rapport_log_read_positions(), rapport_log_conversation_labels(), rapport_log_labels();
DROP TRIGGER conversations_wake_closed ON conversations;
DROP FUNCTION rapport_wake_closed();
DROP INDEX conversations_unread_idx;
ALTER TABLE conversations DROP COLUMN snoozed_until, DROP COLUMN last_inbound_at;
DO $$ BEGIN
    EXECUTE replace(pg_get_functiondef('rapport_audit_omitted()'::regprocedure), '''last_message_at'', ''last_inbound_at'',', '''last_message_at'',');
END $$;
SELECT rapport_log_changes('conversations');
-- What earlier releases do not know.
DELETE FROM messages WHERE NOT rapport_is_said(kind, status);
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
                    AND NOT (m.kind = 'system' AND m.author = 'contact')
                UNION ALL
                SELECT c.business_id, c.conversation_id, c.id, c.closed_at AS at, 'closing'::text AS kind, NULL::uuid AS author_id FROM conversation_closings c
            ) e
        ) n
    ) t
    WHERE t.kind = 'user' AND t.asked_at IS NOT NULL;
DO $$ BEGIN
    EXECUTE replace(replace(pg_get_functiondef('rapport_facts()'::regprocedure), ' AND rapport_is_said(r.kind, r.status)', ''),
        '''rapport_is_said(r.kind, r.status)''', '''true''');
    EXECUTE replace(replace(pg_get_functiondef('rapport_count_rows(regclass)'::regprocedure),
        ', rapport_is_said(OLD.kind, OLD.status)', ''), ', rapport_is_said(NEW.kind, NEW.status)', '');
END $$;
SELECT rapport_count_rows('messages');
DO $$
DECLARE
    kinds constant text := (SELECT substr(pg_get_constraintdef(oid), 6) FROM pg_constraint WHERE conname = 'messages_kind_check');
    statuses constant text := (SELECT substr(pg_get_constraintdef(oid), 6) FROM pg_constraint WHERE conname = 'messages_status_check');
BEGIN
    ALTER TABLE messages DROP CONSTRAINT messages_kind_check, DROP CONSTRAINT messages_status_check;
    EXECUTE 'ALTER TABLE messages ADD CONSTRAINT messages_kind_check CHECK (' || replace(regexp_replace(kinds,
        ' AND \(+kind <> ''note''::text\) OR \(direction = ''outbound''::text\)\)', ''), ', ''note''::text', '') || '),
        ADD CONSTRAINT messages_status_check CHECK (' || replace(regexp_replace(statuses,
        ' AND \(+kind <> ''note''::text\) OR \(status = ''sent''::text\)\)', ''), '''draft''::text, ', '') || ')';
END $$;
DROP FUNCTION rapport_is_said(text, text);
