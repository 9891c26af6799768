LOCK TABLE bookings, messages, conversations, leads, conversation_closings IN ACCESS EXCLUSIVE MODE;
SELECT pg_advisory_xact_lock(rapport_statistics_lock('00000000-0000-0000-0000-000000000000'));

SELECT rapport_fold_turns(array_agg(business_id), array_agg(place)) FROM stat_deltas WHERE conversation_id IS NOT NULL HAVING count(*) > 0;
DELETE FROM stat_quarters WHERE metric ~ '^leads';
INSERT INTO stat_quarters AS q (business_id, metric, quarter, dim, n, amount)
SELECT business_id, metric, at, dim, sum(n), sum(amount) FROM stat_delta_facts WHERE metric !~ '^leads' GROUP BY 1, 2, 3, 4
ON CONFLICT (business_id, metric, quarter, dim) DO UPDATE SET n = q.n + excluded.n, amount = q.amount + excluded.amount;
DELETE FROM stat_deltas;
DELETE FROM stat_zones;

DROP TRIGGER count_rows ON bookings;
DROP TRIGGER count_rows ON messages;
DROP TRIGGER count_rows ON conversations;
DROP TRIGGER count_rows ON leads;
DROP FUNCTION rapport_count_bookings(), rapport_count_messages(), rapport_count_conversations(), rapport_count_leads(), rapport_count_rows(regclass),
    rapport_facts(), rapport_fold_turns(uuid[], bigint[], uuid[]);
DROP VIEW stat_differences, stat_unfolded, stat_delta_facts;
ALTER TABLE stat_deltas DROP COLUMN facts, DROP COLUMN conversation_id, ADD COLUMN metric text COLLATE "C" NOT NULL, ADD COLUMN dim text COLLATE "C" NOT NULL,
    ADD COLUMN at timestamptz NOT NULL, ADD COLUMN n bigint NOT NULL, ADD COLUMN amount numeric NOT NULL;
DROP TYPE stat_fact;

-- Conversations in which something has changed since: the fold looks at them again.
CREATE SEQUENCE stat_changed_conversations_place_seq CACHE 1 NO CYCLE;
CREATE TABLE stat_changed_conversations (
    business_id uuid NOT NULL,
    place bigint NOT NULL DEFAULT nextval('stat_changed_conversations_place_seq'),
    conversation_id uuid NOT NULL,
    PRIMARY KEY (business_id, place)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_insert_scale_factor = 1,
        autovacuum_analyze_threshold = 1000000000, vacuum_truncate = off);
COMMENT ON TABLE stat_changed_conversations IS 'Written by triggers, emptied by the task "statistics". A row must never be deleted by hand: its turns would stay as they were.';
SELECT rapport_enable_tenant_rls('stat_changed_conversations', 'SELECT');

CREATE FUNCTION rapport_count_rows(counted regclass, facts text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name constant text := (SELECT relname FROM pg_class WHERE oid = counted);
    shown constant text := 'SELECT %1$s AS business_id, f.metric, left(f.dim, 400) AS dim, rapport_quarter(f.at) AS at, %2$sf.n AS n, %2$sf.amount AS amount'
        || ' FROM (' || facts || ') f (metric, dim, at, n, amount) WHERE f.metric IS NOT NULL AND rapport_is_counted(f.at)';
    of_new constant text := regexp_replace(format(shown, 'r.business_id', '') || ' AND r.deleted_at IS NULL', '\mr\.', 'NEW.', 'g');
    of_old constant text := regexp_replace(format(shown, 'r.business_id', '-') || ' AND r.deleted_at IS NULL', '\mr\.', 'OLD.', 'g');
    -- what decides how a row counts
    columns constant text[] := ARRAY(
        SELECT DISTINCT c FROM (SELECT (regexp_matches(facts, '\mr\.([a-z_]+)', 'g'))[1] UNION ALL SELECT unnest('{business_id,deleted_at}'::text[])) m (c) ORDER BY c);
    differs constant text := (SELECT string_agg(format('OLD.%1$I IS DISTINCT FROM NEW.%1$I', c), ' OR ') FROM unnest(columns) c);
    adds constant text := 'INSERT INTO stat_deltas (business_id, metric, dim, at, n, amount) ';
BEGIN
    EXECUTE format('CREATE OR REPLACE VIEW %I WITH (security_invoker = true) AS SELECT c.* FROM %s r CROSS JOIN LATERAL (%s) c WHERE r.deleted_at IS NULL',
        'stat_facts_' || name, counted, format(shown, 'r.business_id', ''));
    EXECUTE format($function$
        CREATE OR REPLACE FUNCTION %I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $body$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                %s;
            ELSIF TG_OP = 'DELETE' THEN
                %s;
            ELSE
                %sSELECT c.business_id, c.metric, c.dim, c.at, sum(c.n), sum(c.amount) FROM (%s UNION ALL %s) c
                GROUP BY c.business_id, c.metric, c.dim, c.at HAVING sum(c.n) <> 0 OR sum(c.amount) <> 0;
            END IF;
            RETURN NULL;
        END $body$
        $function$, 'rapport_count_' || name, adds || of_new, adds || of_old, adds, of_new, of_old);
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %I() FROM PUBLIC', 'rapport_count_' || name);
    EXECUTE format('CREATE OR REPLACE TRIGGER count_rows AFTER INSERT OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION %I()',
        counted, 'rapport_count_' || name);
    EXECUTE format('CREATE OR REPLACE TRIGGER count_update AFTER UPDATE ON %s FOR EACH ROW WHEN (%s) EXECUTE FUNCTION %I()',
        counted, differs, 'rapport_count_' || name);
    EXECUTE format('CREATE OR REPLACE TRIGGER count_truncate AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION rapport_count_truncate()', counted);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER count_rows, ENABLE ALWAYS TRIGGER count_update, ENABLE ALWAYS TRIGGER count_truncate', counted);
END $$;

CREATE OR REPLACE FUNCTION rapport_mark_conversation() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO stat_changed_conversations (business_id, conversation_id) VALUES (OLD.business_id, OLD.conversation_id);
    END IF;
    IF TG_OP = 'INSERT' OR TG_OP = 'UPDATE' AND (OLD.business_id, OLD.conversation_id) <> (NEW.business_id, NEW.conversation_id) THEN
        INSERT INTO stat_changed_conversations (business_id, conversation_id) VALUES (NEW.business_id, NEW.conversation_id);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION rapport_log_closing() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO conversation_closings (business_id, conversation_id) VALUES (NEW.business_id, NEW.id);
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_log_closing() FROM PUBLIC;
CREATE TRIGGER count_closing AFTER UPDATE ON conversations FOR EACH ROW WHEN (NEW.status = 'closed' AND OLD.status <> 'closed')
    EXECUTE FUNCTION rapport_log_closing();
ALTER TABLE conversations ENABLE ALWAYS TRIGGER count_closing;

CREATE TRIGGER mark_insert AFTER INSERT ON messages FOR EACH ROW WHEN (NEW.author IN ('contact', 'user'))
    EXECUTE FUNCTION rapport_mark_conversation();
CREATE TRIGGER mark_delete AFTER DELETE ON messages FOR EACH ROW WHEN (OLD.author IN ('contact', 'user'))
    EXECUTE FUNCTION rapport_mark_conversation();
CREATE TRIGGER mark_update AFTER UPDATE ON messages FOR EACH ROW
    WHEN (OLD.business_id IS DISTINCT FROM NEW.business_id OR OLD.conversation_id IS DISTINCT FROM NEW.conversation_id
        OR OLD.id IS DISTINCT FROM NEW.id OR OLD.author IS DISTINCT FROM NEW.author OR OLD.author_id IS DISTINCT FROM NEW.author_id
        OR OLD.sent_at IS DISTINCT FROM NEW.sent_at OR OLD.deleted_at IS DISTINCT FROM NEW.deleted_at
        OR (OLD.status = 'failed') IS DISTINCT FROM (NEW.status = 'failed'))
    EXECUTE FUNCTION rapport_mark_conversation();
ALTER TABLE messages ENABLE ALWAYS TRIGGER mark_insert, ENABLE ALWAYS TRIGGER mark_delete, ENABLE ALWAYS TRIGGER mark_update;

SELECT rapport_count_rows('bookings', $$ VALUES
    ('bookings', concat(r.status, '/', r.currency), r.starts_at, 1::bigint, coalesce(r.price_minor, 0)::numeric),
    (CASE WHEN r.service_id IS NOT NULL THEN 'bookings.service' END, concat(r.service_id, '/', r.status, '/', r.currency), r.starts_at, 1, coalesce(r.price_minor, 0)),
    (CASE WHEN r.staff_id IS NOT NULL THEN 'bookings.staff' END, concat(r.staff_id, '/', r.status, '/', r.currency), r.starts_at, 1, coalesce(r.price_minor, 0)) $$);
SELECT rapport_count_rows('messages', $$ VALUES
    ('messages', concat(r.direction, '/', r.author, '/', r.status), r.sent_at, 1::bigint, 0::numeric),
    (CASE WHEN r.author = 'user' AND r.author_id IS NOT NULL THEN 'messages.member' END, concat(r.author_id, '/', r.status), r.sent_at, 1, 0),
    (CASE WHEN r.cost <> 'NaN' THEN 'messages.cost' END, coalesce(r.cost_currency, ''), r.sent_at, 1, r.cost),
    (CASE WHEN r.author = 'ai' THEN 'ai.input' END, coalesce(r.model, ''), r.sent_at, 1, coalesce(r.input_tokens, 0)),
    (CASE WHEN r.author = 'ai' THEN 'ai.output' END, coalesce(r.model, ''), r.sent_at, 1, coalesce(r.output_tokens, 0)),
    (CASE WHEN r.author = 'ai' AND r.ai_cost <> 'NaN' THEN 'ai.cost' END, coalesce(r.model, ''), r.sent_at, 1, r.ai_cost) $$);
SELECT rapport_count_rows('conversations', $$ VALUES
    ('conversations', concat(r.channel, '/', r.status), r.started_at, 1::bigint, 0::numeric),
    (CASE WHEN r.assignee_id IS NOT NULL THEN 'conversations.assignee' END, concat(r.assignee_id, '/', r.status), r.started_at, 1, 0) $$);
SELECT rapport_count_rows('leads', $$ VALUES
    ('leads', r.status, r.entered_at, 1::bigint, 0::numeric),
    (CASE WHEN r.source IS NOT NULL THEN 'leads.source' END, concat(r.source, '/', r.status), r.entered_at, 1, 0),
    (CASE WHEN r.campaign_id IS NOT NULL THEN 'leads.campaign' END, concat(r.campaign_id, '/', r.status), r.entered_at, 1, 0),
    (CASE WHEN r.assignee_id IS NOT NULL THEN 'leads.assignee' END, concat(r.assignee_id, '/', r.status), r.entered_at, 1, 0),
    (CASE WHEN r.status IN ('won', 'lost') THEN 'closed' END, concat(r.status, '/', r.currency), r.closed_at, 1, coalesce(r.value_minor, 0)),
    (CASE WHEN r.status IN ('won', 'lost') AND r.source IS NOT NULL THEN 'closed.source' END, concat(r.source, '/', r.status, '/', r.currency), r.closed_at, 1, coalesce(r.value_minor, 0)),
    (CASE WHEN r.status IN ('won', 'lost') AND r.campaign_id IS NOT NULL THEN 'closed.campaign' END, concat(r.campaign_id, '/', r.status, '/', r.currency), r.closed_at, 1, coalesce(r.value_minor, 0)),
    (CASE WHEN r.status IN ('won', 'lost') AND r.assignee_id IS NOT NULL THEN 'closed.assignee' END, concat(r.assignee_id, '/', r.status, '/', r.currency), r.closed_at, 1, coalesce(r.value_minor, 0)) $$);

CREATE FUNCTION rapport_fold_turns(businesses uuid[], most bigint, everything boolean DEFAULT false) RETURNS bigint LANGUAGE sql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
    WITH taken AS (
        DELETE FROM stat_changed_conversations d USING (
            SELECT c.business_id, c.place FROM unnest(businesses) b (id) CROSS JOIN LATERAL (
                SELECT c.business_id, c.place FROM stat_changed_conversations c WHERE c.business_id = b.id ORDER BY c.place LIMIT most) c) k
        WHERE d.business_id = k.business_id AND d.place = k.place RETURNING d.business_id, d.conversation_id
    ), changed AS MATERIALIZED (
        SELECT DISTINCT business_id, conversation_id FROM taken WHERE NOT everything
    ), counted AS MATERIALIZED (
        SELECT s.* FROM changed c JOIN stat_turns s ON s.business_id = c.business_id AND s.conversation_id = c.conversation_id
        UNION ALL SELECT s.* FROM stat_turns s WHERE everything AND s.business_id = ANY (businesses)
    ), current AS MATERIALIZED (
        SELECT w.* FROM changed c CROSS JOIN LATERAL (
            SELECT * FROM stat_turns_now w WHERE w.business_id = c.business_id AND w.conversation_id = c.conversation_id OFFSET 0) w
        UNION ALL SELECT w.* FROM stat_turns_now w WHERE everything AND w.business_id = ANY (businesses)
    ), gone AS (
        SELECT t.business_id, t.conversation_id, t.message_id
        FROM (SELECT 1 AS sign, * FROM current UNION ALL SELECT -1, * FROM counted) t GROUP BY 1, 2, 3 HAVING max(t.sign) = -1
    ), removed AS (
        DELETE FROM stat_turns s USING gone g
        WHERE s.business_id = g.business_id AND s.conversation_id = g.conversation_id AND s.message_id = g.message_id
    ), added AS (
        INSERT INTO stat_turns AS s (business_id, conversation_id, message_id, answered_at, author_id, seconds)
        SELECT w.business_id, w.conversation_id, w.message_id, w.answered_at, w.author_id, w.seconds FROM current w
        ON CONFLICT (business_id, conversation_id, message_id) DO UPDATE
            SET answered_at = excluded.answered_at, author_id = excluded.author_id, seconds = excluded.seconds
            WHERE (s.answered_at, s.author_id, s.seconds) IS DISTINCT FROM (excluded.answered_at, excluded.author_id, excluded.seconds)
    ), deltas AS (
        INSERT INTO stat_deltas (business_id, metric, dim, at, n, amount)
        SELECT t.business_id, f.metric, f.dim, f.at, sum(t.sign * f.n), sum(t.sign * f.amount)
        FROM (SELECT 1 AS sign, * FROM current UNION ALL SELECT -1, * FROM counted) t
        CROSS JOIN LATERAL rapport_turn_facts(t.answered_at, t.author_id, t.seconds) f
        GROUP BY 1, 2, 3, 4 HAVING sum(t.sign * f.n) <> 0 OR sum(t.sign * f.amount) <> 0
    )
    SELECT count(*) FROM taken
$$;
REVOKE EXECUTE ON FUNCTION rapport_fold_turns(uuid[], bigint, boolean) FROM PUBLIC;

CREATE VIEW stat_unfolded WITH (security_invoker = true) AS
    SELECT d.business_id, d.metric, d.dim, d.at, d.n, d.amount FROM stat_deltas d
    UNION ALL
    SELECT c.business_id, f.metric, f.dim, f.at, t.sign * f.n, t.sign * f.amount
    FROM (SELECT DISTINCT business_id, conversation_id FROM stat_changed_conversations) c
    CROSS JOIN LATERAL (
        SELECT 1 AS sign, w.answered_at, w.author_id, w.seconds FROM stat_turns_now w
        WHERE w.business_id = c.business_id AND w.conversation_id = c.conversation_id
        UNION ALL
        SELECT -1 AS sign, s.answered_at, s.author_id, s.seconds FROM stat_turns s
        WHERE s.business_id = c.business_id AND s.conversation_id = c.conversation_id
    ) t
    CROSS JOIN LATERAL rapport_turn_facts(t.answered_at, t.author_id, t.seconds) f;

GRANT SELECT ON stat_unfolded TO rapport_tenant;

CREATE VIEW stat_differences WITH (security_invoker = true) AS
    SELECT d.business_id, d.metric, d.dim, d.at, sum(d.n)::bigint AS n, sum(d.amount) AS amount FROM (
        SELECT f.business_id, f.metric, f.dim, f.at, f.n, f.amount FROM stat_facts f
        UNION ALL SELECT q.business_id, q.metric, q.dim, q.quarter AS at, -q.n AS n, -q.amount AS amount FROM stat_quarters q
        UNION ALL SELECT u.business_id, u.metric, u.dim, u.at, -u.n AS n, -u.amount AS amount FROM stat_unfolded u) d
    GROUP BY d.business_id, d.metric, d.dim, d.at HAVING sum(d.n) <> 0 OR sum(d.amount) <> 0;

CREATE OR REPLACE FUNCTION rapport_correct_statistics(business uuid) RETURNS bigint LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    corrected bigint;
    counted text;
BEGIN
    -- The snapshot would be older than the lock: what the last correction has added would be added again.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'statistics are corrected at the isolation level read committed' USING HINT = 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED';
    END IF;
    LOCK TABLE bookings, messages, conversations, leads, conversation_closings IN ACCESS SHARE MODE;
    IF business IS NULL THEN
        PERFORM pg_advisory_xact_lock(rapport_statistics_lock('00000000-0000-0000-0000-000000000000'));
        PERFORM rapport_fold_turns(ARRAY(SELECT id FROM businesses UNION SELECT business_id FROM stat_turns UNION SELECT business_id FROM stat_changed_conversations),
            9223372036854775807, true);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(rapport_statistics_lock('00000000-0000-0000-0000-000000000000'));
        PERFORM pg_advisory_xact_lock(rapport_statistics_lock(business));
        PERFORM rapport_fold_turns(ARRAY[business], 9223372036854775807, true);
    END IF;
    IF business IS NULL THEN
        INSERT INTO stat_deltas (business_id, metric, dim, at, n, amount)
        SELECT d.business_id, d.metric, d.dim, d.at, d.n, d.amount FROM stat_differences d;
    ELSE
        INSERT INTO stat_deltas (business_id, metric, dim, at, n, amount)
        SELECT d.business_id, d.metric, d.dim, d.at, d.n, d.amount FROM stat_differences d WHERE d.business_id = business;
    END IF;
    GET DIAGNOSTICS corrected = ROW_COUNT;
    IF corrected > 0 THEN
        -- Answers that were computed from them are cached by these tables.
        FOREACH counted IN ARRAY '{bookings,messages,conversations,leads}'::text[] LOOP
            PERFORM rapport_log_all(coalesce(business, '00000000-0000-0000-0000-000000000000'), counted);
        END LOOP;
    END IF;
    RETURN corrected;
END $$;

INSERT INTO stat_quarters (business_id, metric, quarter, dim, n, amount)
SELECT business_id, metric, at, dim, sum(n), sum(amount) FROM stat_facts_leads WHERE metric ~ '^leads' GROUP BY 1, 2, 3, 4;

-- Long texts are cut where they were not, or elsewhere: those sums are counted anew, too.
DO $$
BEGIN
    IF EXISTS (SELECT FROM stat_quarters WHERE length(dim) >= 300 AND metric !~ '^leads') THEN
        DELETE FROM stat_quarters WHERE length(dim) >= 300 AND metric !~ '^leads';
        INSERT INTO stat_quarters (business_id, metric, quarter, dim, n, amount)
        SELECT business_id, metric, at, dim, sum(n), sum(amount) FROM stat_facts WHERE length(dim) >= 300 AND metric !~ '^leads' GROUP BY 1, 2, 3, 4;
    END IF;
END $$;
