-- The shared inbox: notes and drafts in threads, labels, snoozing, what each member has read, canned responses.

-- Whether a message was said to the other side, or is on its way: not a note of a member, and not a draft that waits for one. What is not
-- said counts nowhere: not in the totals of its conversation, not as an answer, not in the statistics of messages.
CREATE FUNCTION rapport_is_said(kind text, status text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT kind <> 'note' AND status <> 'draft'
$$;

-- (From the constraints as other migrations left them. No row that is there breaks the new ones, which allow more.)
DO $$
DECLARE
    kinds constant text := (SELECT substr(pg_get_constraintdef(oid), 6) FROM pg_constraint WHERE conname = 'messages_kind_check');
    statuses constant text := (SELECT substr(pg_get_constraintdef(oid), 6) FROM pg_constraint WHERE conname = 'messages_status_check');
BEGIN
    IF kinds NOT LIKE '%''unknown''::text%' OR statuses NOT LIKE '%''queued''::text%' THEN
        RAISE EXCEPTION 'the constraints of messages are not those that this migration knows';
    END IF;
    ALTER TABLE messages DROP CONSTRAINT messages_kind_check, DROP CONSTRAINT messages_status_check;
    EXECUTE 'ALTER TABLE messages ADD CONSTRAINT messages_kind_check CHECK ('
        || replace(kinds, '''unknown''::text', '''unknown''::text, ''note''::text') || ' AND (kind <> ''note'' OR direction = ''outbound'')),
        ADD CONSTRAINT messages_status_check CHECK (' || replace(statuses, '''queued''::text', '''draft''::text, ''queued''::text')
        || ' AND (kind <> ''note'' OR status = ''sent''))';
END $$;

-- Statistics: what is not said is no message and answers nobody. (What models read and wrote for drafts counts: it was paid for.)
DO $do$
DECLARE
    facts constant text := replace(replace(pg_get_functiondef('rapport_facts()'::regprocedure),
        $before$('messages', 'messages', 'true',$before$, $after$('messages', 'messages', 'rapport_is_said(r.kind, r.status)',$after$),
        $before$$$r.author = 'user' AND r.author_id IS NOT NULL$$$before$,
        $after$$$r.author = 'user' AND r.author_id IS NOT NULL AND rapport_is_said(r.kind, r.status)$$$after$);
    counting constant text := replace(replace(pg_get_functiondef('rapport_count_rows(regclass)'::regprocedure),
        $before$OLD.deleted_at, OLD.status = 'failed')$before$,
        $after$OLD.deleted_at, OLD.status = 'failed', rapport_is_said(OLD.kind, OLD.status))$after$),
        $before$NEW.deleted_at, NEW.status = 'failed')$before$,
        $after$NEW.deleted_at, NEW.status = 'failed', rapport_is_said(NEW.kind, NEW.status))$after$);
BEGIN
    IF facts NOT LIKE '%IS NOT NULL AND rapport_is_said%' OR facts NOT LIKE '%''messages'', ''rapport_is_said%'
        OR counting NOT LIKE '%rapport_is_said(OLD%rapport_is_said(NEW%' THEN
        RAISE EXCEPTION 'the functions of the statistics are not those that this migration knows';
    END IF;
    EXECUTE facts;
    EXECUTE counting;
END $do$;
SELECT rapport_count_rows('messages');
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
                    AND NOT (m.kind = 'system' AND m.author = 'contact') AND rapport_is_said(m.kind, m.status)
                UNION ALL
                SELECT c.business_id, c.conversation_id, c.id, c.closed_at AS at, 'closing'::text AS kind, NULL::uuid AS author_id FROM conversation_closings c
            ) e
        ) n
    ) t
    WHERE t.kind = 'user' AND t.asked_at IS NOT NULL;
