-- Counting for the statistics, cheaper: a change appends one row, with all that it counts, and the conversation to be looked at.
--
-- PostgreSQL parses the condition of a trigger anew in each statement: those that named every column which counts took more time
-- than counting itself. A list of columns costs nothing. And each row that is appended costs as much as making several facts.
--
-- Leads are counted by how far they have come, too, and by how long they waited for a first answer.

-- No fold, and no correction, meanwhile; neither readers nor writers, since triggers are dropped.
LOCK TABLE bookings, messages, conversations, leads, conversation_closings IN ACCESS EXCLUSIVE MODE;
SELECT pg_advisory_xact_lock(rapport_statistics_lock('00000000-0000-0000-0000-000000000000'));

-- What is counted: of each row `r` of a table that is not deleted, where the condition holds, one of `metric` for `dim` at a time,
-- with an amount. (Texts that may be long are cut: a dimension is part of a key.)
CREATE FUNCTION rapport_facts() RETURNS TABLE (counted text, metric text, condition text, dim text, at text, amount text) LANGUAGE sql IMMUTABLE AS $facts$ VALUES
    ('bookings', 'bookings', 'true', $$concat(r.status, '/', left(r.currency, 300))$$, 'r.starts_at', 'coalesce(r.price_minor, 0)'),
    ('bookings', 'bookings.service', 'r.service_id IS NOT NULL', $$concat(r.service_id, '/', r.status, '/', left(r.currency, 300))$$, 'r.starts_at', 'coalesce(r.price_minor, 0)'),
    ('bookings', 'bookings.staff', 'r.staff_id IS NOT NULL', $$concat(r.staff_id, '/', r.status, '/', left(r.currency, 300))$$, 'r.starts_at', 'coalesce(r.price_minor, 0)'),

    ('messages', 'messages', 'true', $$concat(r.direction, '/', r.author, '/', r.status)$$, 'r.sent_at', '0'),
    ('messages', 'messages.member', $$r.author = 'user' AND r.author_id IS NOT NULL$$, $$concat(r.author_id, '/', r.status)$$, 'r.sent_at', '0'),
    ('messages', 'messages.cost', $$r.cost <> 'NaN'$$, $$coalesce(left(r.cost_currency, 300), '')$$, 'r.sent_at', 'r.cost'),
    ('messages', 'ai.input', $$r.author = 'ai'$$, $$coalesce(left(r.model, 300), '')$$, 'r.sent_at', 'coalesce(r.input_tokens, 0)'),
    ('messages', 'ai.output', $$r.author = 'ai'$$, $$coalesce(left(r.model, 300), '')$$, 'r.sent_at', 'coalesce(r.output_tokens, 0)'),
    ('messages', 'ai.cost', $$r.author = 'ai' AND r.ai_cost <> 'NaN'$$, $$coalesce(left(r.model, 300), '')$$, 'r.sent_at', 'r.ai_cost'),

    ('conversations', 'conversations', 'true', $$concat(r.channel, '/', r.status)$$, 'r.started_at', '0'),
    ('conversations', 'conversations.assignee', 'r.assignee_id IS NOT NULL', $$concat(r.assignee_id, '/', r.status)$$, 'r.started_at', '0'),

    ('leads', 'leads', 'true', $$concat(r.status, '/', r.furthest_stage)$$, 'r.entered_at', '0'),
    ('leads', 'leads.source', 'r.source IS NOT NULL', $$concat(left(r.source, 300), '/', r.status, '/', r.furthest_stage)$$, 'r.entered_at', '0'),
    ('leads', 'leads.campaign', 'r.campaign_id IS NOT NULL', $$concat(r.campaign_id, '/', r.status, '/', r.furthest_stage)$$, 'r.entered_at', '0'),
    ('leads', 'leads.assignee', 'r.assignee_id IS NOT NULL', $$concat(r.assignee_id, '/', r.status, '/', r.furthest_stage)$$, 'r.entered_at', '0'),
    ('leads', 'leads.first_touch', 'rapport_is_counted(r.entered_at) AND rapport_is_counted(r.first_touch_at) AND r.first_touch_at >= r.entered_at',
        'rapport_duration_bucket(extract(epoch FROM r.first_touch_at - r.entered_at))', 'r.entered_at', 'extract(epoch FROM r.first_touch_at - r.entered_at)'),
    ('leads', 'closed', $$r.status IN ('won', 'lost')$$, $$concat(r.status, '/', left(r.currency, 300))$$, 'r.closed_at', 'coalesce(r.value_minor, 0)'),
    ('leads', 'closed.source', $$r.status IN ('won', 'lost') AND r.source IS NOT NULL$$,
        $$concat(left(r.source, 300), '/', r.status, '/', left(r.currency, 300))$$, 'r.closed_at', 'coalesce(r.value_minor, 0)'),
    ('leads', 'closed.campaign', $$r.status IN ('won', 'lost') AND r.campaign_id IS NOT NULL$$,
        $$concat(r.campaign_id, '/', r.status, '/', left(r.currency, 300))$$, 'r.closed_at', 'coalesce(r.value_minor, 0)'),
    ('leads', 'closed.assignee', $$r.status IN ('won', 'lost') AND r.assignee_id IS NOT NULL$$,
        $$concat(r.assignee_id, '/', r.status, '/', left(r.currency, 300))$$, 'r.closed_at', 'coalesce(r.value_minor, 0)')
$facts$;
REVOKE EXECUTE ON FUNCTION rapport_facts() FROM PUBLIC;


-- What is not folded is folded, but for the days: they are made from the quarters, which are read until then. The sums of leads
-- are counted anew below: their dimensions are others.
SELECT rapport_fold_turns(ARRAY(SELECT DISTINCT business_id FROM stat_changed_conversations), 9223372036854775807);
DELETE FROM stat_quarters WHERE metric ~ '^leads';
INSERT INTO stat_quarters AS q (business_id, metric, quarter, dim, n, amount)
SELECT business_id, metric, at, dim, sum(n), sum(amount) FROM stat_deltas WHERE metric !~ '^leads' GROUP BY 1, 2, 3, 4
ON CONFLICT (business_id, metric, quarter, dim) DO UPDATE SET n = q.n + excluded.n, amount = q.amount + excluded.amount;
DELETE FROM stat_deltas;
DELETE FROM stat_zones;
-- Of businesses that are gone, which the fold would have found by their changes.
DELETE FROM stat_quarters q WHERE NOT EXISTS (SELECT FROM businesses b WHERE b.id = q.business_id);
DELETE FROM stat_days d WHERE NOT EXISTS (SELECT FROM businesses b WHERE b.id = d.business_id);
DELETE FROM stat_turns t WHERE NOT EXISTS (SELECT FROM businesses b WHERE b.id = t.business_id);

-- squawk-ignore ban-drop-view
DROP VIEW stat_differences, stat_unfolded;
-- squawk-ignore ban-drop-function
DROP FUNCTION rapport_fold_turns(uuid[], bigint, boolean);
-- squawk-ignore ban-drop-table
DROP TABLE stat_changed_conversations;
-- squawk-ignore ban-drop-sequence
DROP SEQUENCE stat_changed_conversations_place_seq;

-- What a change adds to a metric, or takes away.
CREATE TYPE stat_fact AS (metric text COLLATE "C", dim text COLLATE "C", at timestamptz, n bigint, amount numeric);
-- squawk-ignore ban-drop-column
ALTER TABLE stat_deltas DROP COLUMN metric, DROP COLUMN dim, DROP COLUMN at, DROP COLUMN n, DROP COLUMN amount;
-- (It has no rows now. The conversation is one whose turns may have changed: the fold looks at it again.)
-- squawk-ignore adding-required-field
ALTER TABLE stat_deltas ADD COLUMN facts stat_fact[] NOT NULL, ADD COLUMN conversation_id uuid;

-- What is not in the sums yet, but for turns.
CREATE VIEW stat_delta_facts WITH (security_invoker = true) AS
    SELECT d.business_id, f.metric, f.dim, f.at, f.n, f.amount FROM stat_deltas d CROSS JOIN LATERAL unnest(d.facts) f;

-- The same, and of conversations that have changed the turns now instead of those that are counted.
CREATE VIEW stat_unfolded WITH (security_invoker = true) AS
    SELECT d.business_id, d.metric, d.dim, d.at, d.n, d.amount FROM stat_delta_facts d
    UNION ALL
    SELECT c.business_id, f.metric, f.dim, f.at, t.sign * f.n, t.sign * f.amount
    FROM (SELECT DISTINCT business_id, conversation_id FROM stat_deltas WHERE conversation_id IS NOT NULL) c
    CROSS JOIN LATERAL (
        SELECT 1 AS sign, w.answered_at, w.author_id, w.seconds FROM stat_turns_now w
        WHERE w.business_id = c.business_id AND w.conversation_id = c.conversation_id
        UNION ALL
        SELECT -1 AS sign, s.answered_at, s.author_id, s.seconds FROM stat_turns s
        WHERE s.business_id = c.business_id AND s.conversation_id = c.conversation_id
    ) t
    CROSS JOIN LATERAL rapport_turn_facts(t.answered_at, t.author_id, t.seconds) f;
GRANT SELECT ON stat_delta_facts, stat_unfolded TO rapport_tenant;

-- How the sums, with what is not folded, differ from the recount: what is missing from them. Nothing, as long as the triggers have
-- counted every change. Ask for it in one statement, and so in one snapshot.
CREATE VIEW stat_differences WITH (security_invoker = true) AS
    SELECT d.business_id, d.metric, d.dim, d.at, sum(d.n)::bigint AS n, sum(d.amount) AS amount FROM (
        SELECT f.business_id, f.metric, f.dim, f.at, f.n, f.amount FROM stat_facts f
        UNION ALL SELECT q.business_id, q.metric, q.dim, q.quarter AS at, -q.n AS n, -q.amount AS amount FROM stat_quarters q
        UNION ALL SELECT u.business_id, u.metric, u.dim, u.at, -u.n AS n, -u.amount AS amount FROM stat_unfolded u) d
    GROUP BY d.business_id, d.metric, d.dim, d.at HAVING sum(d.n) <> 0 OR sum(d.amount) <> 0;

-- Looks again at the conversations of these changes, and at all conversations of the businesses `everything`: the locks of all are
-- held by the caller. How their turns differ is appended as changes, which are returned, with the quarters in which they count.
--
-- It is one statement, and so one snapshot: whatever it does not see has a change still to come.
-- By index, whatever the planner knows of the tables.
CREATE FUNCTION rapport_fold_turns(businesses uuid[], places bigint[], everything uuid[] DEFAULT '{}')
RETURNS TABLE (business_id uuid, place bigint, quarters timestamptz[]) LANGUAGE sql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
    WITH changed AS MATERIALIZED (
        SELECT DISTINCT d.business_id, d.conversation_id FROM unnest(businesses, places) k (business_id, place)
        JOIN stat_deltas d ON d.business_id = k.business_id AND d.place = k.place WHERE d.conversation_id IS NOT NULL
    ), counted AS MATERIALIZED (
        SELECT s.* FROM changed c JOIN stat_turns s ON s.business_id = c.business_id AND s.conversation_id = c.conversation_id
        UNION ALL SELECT s.* FROM stat_turns s WHERE s.business_id = ANY (everything)
    ), current AS MATERIALIZED (
        SELECT w.* FROM changed c CROSS JOIN LATERAL (
            SELECT * FROM stat_turns_now w WHERE w.business_id = c.business_id AND w.conversation_id = c.conversation_id OFFSET 0) w
        UNION ALL SELECT w.* FROM stat_turns_now w WHERE w.business_id = ANY (everything)
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
    ), differences AS (
        SELECT t.business_id, f.metric, f.dim, f.at, sum(t.sign * f.n)::bigint AS n, sum(t.sign * f.amount) AS amount
        FROM (SELECT 1 AS sign, * FROM current UNION ALL SELECT -1, * FROM counted) t
        CROSS JOIN LATERAL rapport_turn_facts(t.answered_at, t.author_id, t.seconds) f
        GROUP BY 1, 2, 3, 4 HAVING sum(t.sign * f.n) <> 0 OR sum(t.sign * f.amount) <> 0
    ), parts AS (
        SELECT d.business_id, row_number() OVER (PARTITION BY d.business_id) / 20 AS part, (d.metric, d.dim, d.at, d.n, d.amount)::stat_fact AS fact
        FROM differences d
    ), appended AS (
        INSERT INTO stat_deltas AS d (business_id, facts) SELECT p.business_id, array_agg(p.fact) FROM parts p GROUP BY p.business_id, p.part
        RETURNING d.business_id, d.place, d.facts
    )
    SELECT a.business_id, a.place, ARRAY(SELECT DISTINCT f.at FROM unnest(a.facts) f) FROM appended a
$$;
REVOKE EXECUTE ON FUNCTION rapport_fold_turns(uuid[], bigint[], uuid[]) FROM PUBLIC;

-- Appends what is missing, so that the sums are equal to the recount again. Writers go on meanwhile: of one that the statement
-- does not see, neither rows nor deltas are seen. Returns how many sums were wrong.
CREATE OR REPLACE FUNCTION rapport_correct_statistics(business uuid) RETURNS bigint LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    corrected bigint;
    turns bigint;
    counted text;
    businesses uuid[];
BEGIN
    -- The snapshot would be older than the lock: what the last correction has added would be added again.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'statistics are corrected at the isolation level read committed' USING HINT = 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED';
    END IF;
    LOCK TABLE bookings, messages, conversations, leads, conversation_closings IN ACCESS SHARE MODE;
    IF business IS NULL THEN
        PERFORM pg_advisory_xact_lock(rapport_statistics_lock('00000000-0000-0000-0000-000000000000'));
        businesses := ARRAY(SELECT b.id FROM public.businesses b UNION SELECT business_id FROM stat_turns UNION SELECT business_id FROM stat_deltas);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(rapport_statistics_lock('00000000-0000-0000-0000-000000000000'));
        PERFORM pg_advisory_xact_lock(rapport_statistics_lock(business));
        businesses := ARRAY[business];
    END IF;
    -- Turns that are counted wrongly, but for conversations that the fold would look at anyway.
    SELECT count(*) INTO turns FROM (
        (SELECT w.business_id, w.conversation_id, w.message_id, w.answered_at, w.author_id, w.seconds FROM stat_turns_now w WHERE w.business_id = ANY (businesses)
         EXCEPT SELECT s.business_id, s.conversation_id, s.message_id, s.answered_at, s.author_id, s.seconds FROM stat_turns s WHERE s.business_id = ANY (businesses))
        UNION ALL
        (SELECT s.business_id, s.conversation_id, s.message_id, s.answered_at, s.author_id, s.seconds FROM stat_turns s WHERE s.business_id = ANY (businesses)
         EXCEPT SELECT w.business_id, w.conversation_id, w.message_id, w.answered_at, w.author_id, w.seconds FROM stat_turns_now w WHERE w.business_id = ANY (businesses))) t
    LEFT JOIN (SELECT DISTINCT business_id, conversation_id FROM stat_deltas WHERE conversation_id IS NOT NULL) c
        ON c.business_id = t.business_id AND c.conversation_id = t.conversation_id
    WHERE c.conversation_id IS NULL;
    PERFORM rapport_fold_turns('{}', '{}', businesses);
    IF business IS NULL THEN
        WITH parts AS (
            SELECT d.business_id, row_number() OVER (PARTITION BY d.business_id) / 20 AS part, (d.metric, d.dim, d.at, d.n, d.amount)::stat_fact AS fact
            FROM stat_differences d
        ), appended AS (
            INSERT INTO stat_deltas AS a (business_id, facts) SELECT p.business_id, array_agg(p.fact) FROM parts p GROUP BY p.business_id, p.part RETURNING a.facts
        )
        SELECT coalesce(sum(cardinality(a.facts)), 0) INTO corrected FROM appended a;
    ELSE
        WITH parts AS (
            SELECT row_number() OVER () / 20 AS part, (d.metric, d.dim, d.at, d.n, d.amount)::stat_fact AS fact
            FROM stat_differences d WHERE d.business_id = business
        ), appended AS (
            INSERT INTO stat_deltas AS a (business_id, facts) SELECT business, array_agg(p.fact) FROM parts p GROUP BY p.part RETURNING a.facts
        )
        SELECT coalesce(sum(cardinality(a.facts)), 0) INTO corrected FROM appended a;
    END IF;
    corrected := corrected + turns;
    IF corrected > 0 THEN
        -- Answers that were computed from them are cached by these tables.
        FOREACH counted IN ARRAY '{bookings,messages,conversations,leads}'::text[] LOOP
            PERFORM rapport_log_all(coalesce(business, '00000000-0000-0000-0000-000000000000'), counted);
        END LOOP;
    END IF;
    RETURN corrected;
END $$;

CREATE OR REPLACE FUNCTION rapport_mark_conversation() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    -- (Cached answers that depend on closings depend on conversations.)
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO stat_deltas (business_id, facts, conversation_id) VALUES (OLD.business_id, '{}', OLD.conversation_id);
        INSERT INTO change_log (business_id, xid, changed, touched) VALUES (OLD.business_id, pg_current_xact_id(), 'conversations', ARRAY[OLD.conversation_id]);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO stat_deltas (business_id, facts, conversation_id) VALUES (NEW.business_id, '{}', NEW.conversation_id);
        INSERT INTO change_log (business_id, xid, changed, touched) VALUES (NEW.business_id, pg_current_xact_id(), 'conversations', ARRAY[NEW.conversation_id]);
    END IF;
    RETURN NULL;
END $$;

-- Counts rows of a table: gives it the triggers that append to stat_deltas, and the view `stat_facts_<table>`, which is the
-- recount. A migration that changes what rapport_facts says of a table, or a column of it, calls this again.
--
-- A row that is changed is taken away as it was, and added as it is: what it counts as before adds up to nothing. An update that sets
-- no column which counts does not call the function.
--
-- The triggers are for each row, because a distributed table can fire those on its shards, and fire always: also where
-- `session_replication_role` keeps others from firing.
CREATE FUNCTION rapport_count_rows(counted regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name constant text := (SELECT relname FROM pg_class WHERE oid = counted);
    columns text[] := '{business_id,deleted_at}';
    -- what a row counts, as it is
    adds text := '';
    takes text;
    marks_new text := '';
    marks_old text := '';
    marks_change text := '';
    moment record;
    fact record;
BEGIN
    FOR moment IN SELECT f.at FROM rapport_facts() WITH ORDINALITY f (counted, metric, condition, dim, at, amount, place)
        WHERE f.counted = name GROUP BY f.at ORDER BY min(f.place)
    LOOP
        adds := adds || format('
                IF r.deleted_at IS NULL AND rapport_is_counted(%1$s) THEN
                    quarter := rapport_quarter(%1$s);', moment.at);
        FOR fact IN
            SELECT f.condition, min(f.place) AS place, string_agg(concat_ws(' ', f.condition, f.dim, f.at, f.amount), ' ') AS text,
                string_agg(format('(%L, %s, quarter, +1, +(%s))::stat_fact', f.metric, f.dim, f.amount), ', ' ORDER BY f.place) AS rows
            FROM rapport_facts() WITH ORDINALITY f (counted, metric, condition, dim, at, amount, place)
            WHERE f.counted = name AND f.at = moment.at GROUP BY f.condition ORDER BY 2
        LOOP
            columns := columns || ARRAY(SELECT m[1] FROM regexp_matches(fact.text, '\mr\.([a-z_]+)', 'g') m);
            adds := adds || CASE fact.condition WHEN 'true' THEN format('
                    facts := facts || ARRAY[%s];', fact.rows) ELSE format('
                    IF %s THEN
                        facts := facts || ARRAY[%s];
                    END IF;', fact.condition, fact.rows) END;
        END LOOP;
        adds := adds || '
                END IF;';
    END LOOP;
    takes := regexp_replace(replace(adds, '+1, +', '-1, -'), '\mr\.', 'OLD.', 'g');
    adds := regexp_replace(replace(adds, '+1, +', '1, '), '\mr\.', 'NEW.', 'g');
    IF name = 'messages' THEN
        -- Response times are of several rows: the fold looks at the conversation again.
        columns := columns || '{conversation_id,id}'::text[];
        marks_new := $sql$
                IF NEW.author IN ('contact', 'user') THEN
                    marked := NEW.conversation_id;
                END IF;$sql$;
        marks_old := replace(marks_new, 'NEW.', 'OLD.');
        marks_change := $sql$
                IF (OLD.business_id, OLD.conversation_id, OLD.id, OLD.author, OLD.author_id, OLD.sent_at, OLD.deleted_at, OLD.status = 'failed')
                    IS DISTINCT FROM (NEW.business_id, NEW.conversation_id, NEW.id, NEW.author, NEW.author_id, NEW.sent_at, NEW.deleted_at, NEW.status = 'failed')
                THEN
                    marked := NEW.conversation_id;
                    IF (OLD.business_id, OLD.conversation_id) <> (NEW.business_id, NEW.conversation_id) THEN
                        INSERT INTO stat_deltas (business_id, facts, conversation_id) VALUES (OLD.business_id, '{}', OLD.conversation_id);
                    END IF;
                END IF;$sql$;
    ELSIF name = 'conversations' THEN
        marks_change := $sql$
                IF NEW.status = 'closed' AND OLD.status <> 'closed' THEN
                    INSERT INTO conversation_closings (business_id, conversation_id) VALUES (NEW.business_id, NEW.id);
                END IF;$sql$;
    END IF;
    EXECUTE format($function$
        CREATE OR REPLACE FUNCTION %I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $body$
        DECLARE
            facts stat_fact[] := '{}';
            quarter timestamptz;
            marked uuid;
        BEGIN
            IF TG_OP = 'INSERT' THEN %s
                INSERT INTO stat_deltas (business_id, facts, conversation_id) VALUES (NEW.business_id, facts, marked);
            ELSIF TG_OP = 'DELETE' THEN %s
                INSERT INTO stat_deltas (business_id, facts, conversation_id) VALUES (OLD.business_id, facts, marked);
            ELSE %s
                IF OLD.business_id <> NEW.business_id THEN
                    INSERT INTO stat_deltas (business_id, facts) VALUES (OLD.business_id, facts);
                    facts := '{}';
                END IF; %s
                INSERT INTO stat_deltas (business_id, facts, conversation_id) VALUES (NEW.business_id, facts, marked);
            END IF;
            RETURN NULL;
        END $body$
        $function$, 'rapport_count_' || name, adds || marks_new, takes || marks_old, takes, adds || marks_change);
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %I() FROM PUBLIC', 'rapport_count_' || name);
    EXECUTE format('CREATE OR REPLACE TRIGGER count_rows AFTER INSERT OR DELETE OR UPDATE OF %s ON %s FOR EACH ROW EXECUTE FUNCTION %I()',
        (SELECT string_agg(DISTINCT format('%I', c), ', ') FROM unnest(columns) c), counted, 'rapport_count_' || name);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER count_rows', counted);
    EXECUTE format('CREATE OR REPLACE VIEW %I WITH (security_invoker = true) AS
        SELECT r.business_id, f.metric, f.dim, rapport_quarter(f.at) AS at, f.n, f.amount
        FROM %s r CROSS JOIN LATERAL (VALUES %s) f (metric, dim, at, n, amount)
        WHERE r.deleted_at IS NULL AND f.metric IS NOT NULL AND rapport_is_counted(f.at)',
        'stat_facts_' || name, counted, (
            SELECT string_agg(format('(%s, %s, %s, 1::bigint, (%s)::numeric)', format(guard, f.condition, quote_literal(f.metric)),
                format(guard, f.condition, f.dim), f.at, format(guard, f.condition, f.amount)), ', ')
            FROM rapport_facts() f CROSS JOIN (VALUES ('CASE WHEN %s THEN %s END')) g (guard) WHERE f.counted = name));
END $$;

DROP TRIGGER count_update ON bookings;
DROP TRIGGER count_update ON messages;
DROP TRIGGER count_update ON conversations;
DROP TRIGGER count_update ON leads;
DROP TRIGGER mark_insert ON messages;
DROP TRIGGER mark_update ON messages;
DROP TRIGGER mark_delete ON messages;
DROP TRIGGER count_closing ON conversations;
-- squawk-ignore ban-drop-function
DROP FUNCTION rapport_count_rows(regclass, text), rapport_log_closing();
SELECT rapport_count_rows(t) FROM unnest('{bookings,messages,conversations,leads}'::regclass[]) t;

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
