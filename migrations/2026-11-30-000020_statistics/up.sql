-- Statistics (docs/STATISTICS.md): sums per quarter of an hour and per day, which are equal to a recount of the rows at every moment.
-- Triggers append what a change adds and takes away, in its transaction; a background task folds that into the sums, and a read
-- adds what is not folded yet. So writers never wait for each other, and no sum is a row that all of them update.

-- What changes have added to the statistics since the last fold.
CREATE SEQUENCE stat_deltas_place_seq CACHE 1 NO CYCLE;
CREATE TABLE stat_deltas (
    -- no foreign key: the deletion of a business is a change, too
    business_id uuid NOT NULL,
    place bigint NOT NULL DEFAULT nextval('stat_deltas_place_seq'),
    metric text COLLATE "C" NOT NULL,
    -- what the metric is divided by, such as a status; several values are joined by `/`
    dim text COLLATE "C" NOT NULL,
    -- the quarter of an hour in which it counts
    at timestamptz NOT NULL,
    n bigint NOT NULL,
    amount numeric NOT NULL,
    -- for its age in /metrics
    added_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, place)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_insert_scale_factor = 1,
        autovacuum_analyze_threshold = 1000000000, vacuum_truncate = off);
COMMENT ON TABLE stat_deltas IS 'Written by triggers, emptied by the task "statistics". A row must never be deleted by hand: it would be missing from the sums.';

-- The sums by quarter of an hour. Offsets of time zones are multiples of it, so days of any zone are made of these.
CREATE TABLE stat_quarters (
    business_id uuid NOT NULL,
    metric text COLLATE "C" NOT NULL,
    quarter timestamptz NOT NULL,
    dim text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    amount numeric NOT NULL,
    -- the time before the dimension: a period is one range of the index, however long the history is
    PRIMARY KEY (business_id, metric, quarter, dim)
) WITH (fillfactor = 80);

-- The sums by day, in the time zone of the business.
CREATE TABLE stat_days (
    business_id uuid NOT NULL,
    metric text COLLATE "C" NOT NULL,
    day date NOT NULL,
    dim text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    amount numeric NOT NULL,
    PRIMARY KEY (business_id, metric, day, dim)
) WITH (fillfactor = 80);

-- Of which zone the days of a business are, and by which rules of it. A read that finds another zone or other rules there uses
-- the quarters, until the task has made the days anew.
CREATE TABLE stat_zones (
    business_id uuid PRIMARY KEY,
    zone text NOT NULL,
    -- a hash of the zone's offsets
    rules text NOT NULL,
    -- the release of the data of time zones
    release text NOT NULL,
    rebuilt_at timestamptz NOT NULL DEFAULT now()
);
SELECT rapport_enable_tenant_rls(t, 'SELECT') FROM unnest('{stat_deltas,stat_quarters,stat_days,stat_zones}'::regclass[]) t;

-- The lock that a fold, and a correction, of a business holds; they share that of the nil UUID, which a correction of all holds alone.
-- Before it they lock the tables that they read: TRUNCATE locks its table first, too.
CREATE FUNCTION rapport_statistics_lock(business uuid) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT hashtextextended('rapport statistics ' || business, 0)
$$;

-- The quarter of an hour of an instant. (The origin is earlier than every instant that is written: before it, some releases of
-- PostgreSQL round exact multiples down once more.)
CREATE FUNCTION rapport_quarter(at timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT date_bin('15 minutes', at, '0001-01-01 00:00:00+00')
$$;

-- Whether something at this time is counted: in the years 1 to 9999, which every calendar here has.
CREATE FUNCTION rapport_is_counted(at timestamptz) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT at >= '0001-01-01 00:00:00+00'::timestamptz AND at < '10000-01-01 00:00:00+00'::timestamptz
$$;

-- The bucket of a duration, for percentiles: eight to each doubling, from a second on, so that the middle of a bucket is wrong
-- by 4.4 % at most. The last one begins at about a year.
CREATE FUNCTION rapport_duration_bucket(seconds numeric) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT least(floor(8 * ln(greatest(seconds, 1)) / ln(2)), 200)::integer::text
$$;

-- Counts rows of a table: gives it the triggers that append to stat_deltas, and the view `stat_facts_<table>`, which is the
-- recount. `facts` are rows (metric, dim, at, n, amount) of a row `r`; where the metric is NULL, it counts nothing. Deleted rows
-- never count.
--
-- The triggers are for each row, because a distributed table can fire those on its shards, and fire always: also where
-- `session_replication_role` keeps others from firing. An update that changes nothing which counts does not call the function.
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

-- TRUNCATE has no rows: it is corrected afterwards. It holds a lock that no writer shares, so their deltas can all be seen.
CREATE FUNCTION rapport_count_truncate() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM rapport_correct_all_statistics();
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_count_truncate() FROM PUBLIC;

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

-- Response times are of several rows: a turn begins with the first message of a contact that is not answered, and ends with the
-- next one that a member writes. (Models, automatic messages and those that failed answer nobody.) Closing the conversation ends it, too, without an
-- answer: what comes after that is a new turn.

-- When conversations were closed.
CREATE TABLE conversation_closings (
    business_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    conversation_id uuid NOT NULL,
    closed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT conversation_closings_conversation_id_fkey FOREIGN KEY (business_id, conversation_id)
        REFERENCES conversations (business_id, id) ON DELETE CASCADE
);
CREATE INDEX conversation_closings_conversation_id_idx ON conversation_closings (business_id, conversation_id);

-- The turns that are counted: those of a conversation as they were when it was looked at last. The answer identifies a turn.
CREATE TABLE stat_turns (
    business_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    message_id uuid NOT NULL,
    answered_at timestamptz NOT NULL,
    author_id uuid,
    seconds numeric NOT NULL,
    PRIMARY KEY (business_id, conversation_id, message_id)
);

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
SELECT rapport_enable_tenant_rls(t, 'SELECT') FROM unnest('{conversation_closings,stat_turns,stat_changed_conversations}'::regclass[]) t;

CREATE FUNCTION rapport_mark_conversation() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO stat_changed_conversations (business_id, conversation_id) VALUES (OLD.business_id, OLD.conversation_id);
    END IF;
    IF TG_OP = 'INSERT' OR TG_OP = 'UPDATE' AND (OLD.business_id, OLD.conversation_id) <> (NEW.business_id, NEW.conversation_id) THEN
        INSERT INTO stat_changed_conversations (business_id, conversation_id) VALUES (NEW.business_id, NEW.conversation_id);
    END IF;
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_mark_conversation() FROM PUBLIC;
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
CREATE TRIGGER mark_change AFTER INSERT OR UPDATE OR DELETE ON conversation_closings FOR EACH ROW EXECUTE FUNCTION rapport_mark_conversation();
CREATE TRIGGER count_truncate AFTER TRUNCATE ON conversation_closings FOR EACH STATEMENT EXECUTE FUNCTION rapport_count_truncate();
ALTER TABLE messages ENABLE ALWAYS TRIGGER mark_insert, ENABLE ALWAYS TRIGGER mark_delete, ENABLE ALWAYS TRIGGER mark_update;
ALTER TABLE conversation_closings ENABLE ALWAYS TRIGGER mark_change, ENABLE ALWAYS TRIGGER count_truncate;

CREATE FUNCTION rapport_log_closing() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO conversation_closings (business_id, conversation_id) VALUES (NEW.business_id, NEW.id);
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_log_closing() FROM PUBLIC;
CREATE TRIGGER count_closing AFTER UPDATE ON conversations FOR EACH ROW WHEN (NEW.status = 'closed' AND OLD.status <> 'closed')
    EXECUTE FUNCTION rapport_log_closing();
ALTER TABLE conversations ENABLE ALWAYS TRIGGER count_closing;

-- The turns of conversations now. (A condition on the conversation reaches the messages: it is what the windows are divided by.)
CREATE VIEW stat_turns_now WITH (security_invoker = true) AS
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

-- What turns count.
CREATE FUNCTION rapport_turn_facts(answered_at timestamptz, author_id uuid, seconds numeric)
RETURNS TABLE (metric text, dim text, at timestamptz, n bigint, amount numeric) LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT f.metric, f.dim, rapport_quarter(answered_at), 1::bigint, seconds FROM (VALUES
        ('responses', rapport_duration_bucket(seconds)),
        (CASE WHEN author_id IS NOT NULL THEN 'responses.member' END, concat(author_id, '/', rapport_duration_bucket(seconds)))) f (metric, dim)
    WHERE f.metric IS NOT NULL
$$;
CREATE VIEW stat_facts_responses WITH (security_invoker = true) AS
    SELECT t.business_id, f.metric, f.dim, f.at, f.n, f.amount
    FROM stat_turns_now t CROSS JOIN LATERAL rapport_turn_facts(t.answered_at, t.author_id, t.seconds) f;

-- What is not in the sums yet: the deltas, and of conversations that have changed the turns now instead of those that are counted.
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

GRANT SELECT ON stat_turns_now, stat_unfolded TO rapport_tenant;

-- Looks at changed conversations of some businesses again, at most `most`, whose locks the caller holds: their turns are counted anew. `everything`: at all conversations of the businesses. Returns how many.
--
-- It is one statement, and so one snapshot: whatever it does not see has a row in stat_changed_conversations still to come.
-- By index, whatever the planner knows of the tables.
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

-- The recount: what the rows themselves say.
CREATE VIEW stat_facts WITH (security_invoker = true) AS
    SELECT * FROM stat_facts_bookings UNION ALL SELECT * FROM stat_facts_messages
    UNION ALL SELECT * FROM stat_facts_conversations UNION ALL SELECT * FROM stat_facts_leads UNION ALL SELECT * FROM stat_facts_responses;

-- How the sums, with what is not folded, differ from the recount: what is missing from them. Nothing, as long as the triggers have
-- counted every change. Ask for it in one statement, and so in one snapshot.
CREATE VIEW stat_differences WITH (security_invoker = true) AS
    SELECT d.business_id, d.metric, d.dim, d.at, sum(d.n)::bigint AS n, sum(d.amount) AS amount FROM (
        SELECT f.business_id, f.metric, f.dim, f.at, f.n, f.amount FROM stat_facts f
        UNION ALL SELECT q.business_id, q.metric, q.dim, q.quarter AS at, -q.n AS n, -q.amount AS amount FROM stat_quarters q
        UNION ALL SELECT u.business_id, u.metric, u.dim, u.at, -u.n AS n, -u.amount AS amount FROM stat_unfolded u) d
    GROUP BY d.business_id, d.metric, d.dim, d.at HAVING sum(d.n) <> 0 OR sum(d.amount) <> 0;

-- Appends what is missing, so that the sums are equal to the recount again. Writers go on meanwhile: of one that the statement
-- does not see, neither rows nor deltas are seen. Returns how many sums were wrong.
CREATE FUNCTION rapport_correct_statistics(business uuid) RETURNS bigint LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
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
REVOKE EXECUTE ON FUNCTION rapport_correct_statistics(uuid) FROM PUBLIC;

-- The same for all businesses. While it runs, nothing is folded.
CREATE FUNCTION rapport_correct_all_statistics() RETURNS bigint LANGUAGE sql VOLATILE SET search_path = public, pg_temp AS $$
    SELECT rapport_correct_statistics(NULL)
$$;
REVOKE EXECUTE ON FUNCTION rapport_correct_all_statistics() FROM PUBLIC;

-- What has been before. (The triggers lock out writers until this migration is committed, so nothing is counted twice.)
INSERT INTO stat_turns (business_id, conversation_id, message_id, answered_at, author_id, seconds)
SELECT business_id, conversation_id, message_id, answered_at, author_id, seconds FROM stat_turns_now;
INSERT INTO stat_quarters (business_id, metric, quarter, dim, n, amount)
SELECT business_id, metric, at, dim, sum(n), sum(amount) FROM stat_facts GROUP BY 1, 2, 3, 4;
