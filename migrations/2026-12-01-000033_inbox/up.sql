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

DO $$ BEGIN
    EXECUTE replace(pg_get_functiondef('rapport_audit_omitted()'::regprocedure), '''last_message_at'',', '''last_message_at'', ''last_inbound_at'',');
END $$;
ALTER TABLE conversations
    -- until when it is out of sight; a background task ends that, and so does a message of the other side
    ADD COLUMN snoozed_until timestamptz,
    -- when the other side's last message came in, as far as it is not of the channel's past; the times of the channel are earlier, so
    -- that what a member has not seen yet might be before what they have
    ADD COLUMN last_inbound_at timestamptz;
-- (Without the log of changes, which would have a row for each; one of all in a business is enough.)
ALTER TABLE conversations DISABLE TRIGGER log_change;
UPDATE conversations v SET last_inbound_at = m.came FROM (
    SELECT business_id, conversation_id, max(created_at) AS came FROM messages
    WHERE direction = 'inbound' AND kind <> 'system' AND origin <> 'history' AND deleted_at IS NULL GROUP BY 1, 2) m
WHERE v.business_id = m.business_id AND v.id = m.conversation_id;
ALTER TABLE conversations ENABLE ALWAYS TRIGGER log_change;
SELECT rapport_log_all(id, 'conversations') FROM businesses;
-- What is closed does not come back by itself.
CREATE FUNCTION rapport_wake_closed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.snoozed_until := NULL;
    RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_wake_closed() FROM PUBLIC;
CREATE TRIGGER conversations_wake_closed BEFORE INSERT OR UPDATE OF status, snoozed_until ON conversations FOR EACH ROW
    WHEN (NEW.status = 'closed' AND NEW.snoozed_until IS NOT NULL) EXECUTE FUNCTION rapport_wake_closed();
ALTER TABLE conversations ENABLE ALWAYS TRIGGER conversations_wake_closed;
-- those whose time has come, of all businesses, and the tab of what is snoozed
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX conversations_snoozed_until_idx ON conversations (snoozed_until) WHERE snoozed_until IS NOT NULL;
-- the tab of what is unread
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX conversations_unread_idx ON conversations (business_id, last_message_at, id) WHERE unread_count > 0;
SELECT rapport_log_changes('conversations');

CREATE TABLE labels (
    business_id uuid NOT NULL CONSTRAINT labels_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    name text NOT NULL,
    color text NOT NULL DEFAULT '#64748b',
    description text,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT labels_color_check CHECK (color ~ '^#[0-9a-f]{6}$')
);
CREATE UNIQUE INDEX labels_name_key ON labels (business_id, lower(name));
CREATE INDEX labels_name_idx ON labels (business_id, lower(name) COLLATE "C", id);
CREATE INDEX labels_created_at_idx ON labels (business_id, created_at, id);
SELECT rapport_log_changes('labels');
SELECT rapport_enable_tenant_rls('labels');

-- Which labels conversations have. A label that is deleted is taken off.
CREATE TABLE conversation_labels (
    business_id uuid NOT NULL CONSTRAINT conversation_labels_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    conversation_id uuid NOT NULL,
    label_id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT conversation_labels_conversation_id_fkey FOREIGN KEY (business_id, conversation_id)
        REFERENCES conversations (business_id, id) ON DELETE CASCADE,
    CONSTRAINT conversation_labels_label_id_fkey FOREIGN KEY (business_id, label_id)
        REFERENCES labels (business_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX conversation_labels_label_id_key ON conversation_labels (business_id, conversation_id, label_id);
CREATE INDEX conversation_labels_label_id_idx ON conversation_labels (business_id, label_id, created_at, id);
CREATE INDEX conversation_labels_created_at_idx ON conversation_labels (business_id, created_at, id);
SELECT rapport_log_changes('conversation_labels');
SELECT rapport_enable_tenant_rls('conversation_labels');

-- How far each member has read in each conversation. (`read_until` has no index, so that reading on moves no entry of one.)
CREATE TABLE read_positions (
    business_id uuid NOT NULL CONSTRAINT read_positions_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    conversation_id uuid NOT NULL,
    user_id uuid NOT NULL,
    read_until timestamptz NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT read_positions_conversation_id_fkey FOREIGN KEY (business_id, conversation_id)
        REFERENCES conversations (business_id, id) ON DELETE CASCADE,
    CONSTRAINT read_positions_user_id_fkey FOREIGN KEY (business_id, user_id)
        REFERENCES memberships (business_id, user_id) ON DELETE CASCADE
) WITH (fillfactor = 90);
CREATE UNIQUE INDEX read_positions_user_id_key ON read_positions (business_id, conversation_id, user_id);
CREATE INDEX read_positions_user_id_idx ON read_positions (business_id, user_id, created_at, id);
CREATE INDEX read_positions_created_at_idx ON read_positions (business_id, created_at, id);
SELECT rapport_log_changes('read_positions', 'business_id', '');
SELECT rapport_enable_tenant_rls('read_positions');

CREATE TABLE canned_responses (
    business_id uuid NOT NULL CONSTRAINT canned_responses_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    shortcut text NOT NULL,
    body text NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    search text NOT NULL GENERATED ALWAYS AS (lower(shortcut || ' ' || body)) STORED,
    PRIMARY KEY (business_id, id)
);
CREATE UNIQUE INDEX canned_responses_shortcut_key ON canned_responses (business_id, lower(shortcut)) WHERE deleted_at IS NULL;
CREATE INDEX canned_responses_shortcut_idx ON canned_responses (business_id, lower(shortcut) COLLATE "C", id);
CREATE INDEX canned_responses_created_at_idx ON canned_responses (business_id, created_at, id);
CREATE INDEX canned_responses_deleted_at_idx ON canned_responses (business_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX canned_responses_search_idx ON canned_responses USING gin (business_id, search gin_trgm_ops);
SELECT rapport_log_changes('canned_responses');
SELECT rapport_enable_tenant_rls('canned_responses');
