-- The audit log and the events are made from the log of changes: a writer logs each row once, and the sequencer enters the
-- changes into both afterwards. Until then they are the log's tail, which reads of the audit log include (audit_entries).

-- What the entry of the audit log will say; NULL where a change has none (a table without entries, an update of nothing that
-- entries have).
ALTER TABLE change_log
    -- what the id of the entry is made of (rapport_entry_id): to make a UUID of version 7 would take a third of the trigger's time
    ADD COLUMN entry uuid,
    ADD COLUMN action text,
    -- not now(), so that the changes of one transaction are in order
    ADD COLUMN changed_at timestamptz,
    -- kind and id, as the service sets them; NULL: a session outside the service, such as psql
    ADD COLUMN actor text,
    ADD COLUMN request_id text,
    ADD COLUMN changes jsonb;
COMMENT ON COLUMN change_log.touched IS 'First the row itself';
-- The sequencer walks it where there is more than one pass enters. (The log has minutes of changes: it is built at once.)
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX change_log_place_idx ON change_log (place) WHERE entry IS NOT NULL;
SELECT rapport_enable_tenant_rls('change_log', 'SELECT');

-- The id of an entry, a UUID of version 7: its time in milliseconds, then random bits. (Those of gen_random_uuid() are of
-- version 4: the bits of version 7 include its own.)
CREATE FUNCTION rapport_entry_id(entry uuid, at timestamptz) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(entry) PLACING substring(int8send((date_part('epoch', at) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;

-- Who acted, as the service sets it for a transaction. (Whatever else a session sets is nobody.)
CREATE FUNCTION rapport_actor_kind(actor text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN actor ~ '^(user|api_key)( |$)' THEN split_part(actor, ' ', 1) ELSE 'system' END
$$;
CREATE FUNCTION rapport_actor_id(actor text) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN actor ~ '^(user|api_key) [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN split_part(actor, ' ', 2)::uuid END
$$;

-- How far the sequencer is; the row with the greatest number counts. It has entered what `seen` saw, and of what `target` sees the
-- changes up to `place`. (One row that is updated would slow down reads while a long transaction keeps its dead versions: an
-- index finds the newest row first.)
CREATE TABLE change_log_position (
    number bigint PRIMARY KEY,
    -- identifies the server and the database: a dump may have been restored elsewhere, where snapshots are of other transactions
    server text NOT NULL,
    seen pg_snapshot NOT NULL,
    target pg_snapshot,
    place bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
GRANT SELECT ON change_log_position TO rapport_tenant;
CREATE VIEW change_log_now WITH (security_invoker = true) AS SELECT * FROM change_log_position ORDER BY number DESC LIMIT 1;
GRANT SELECT ON change_log_now TO rapport_tenant;

-- The log's tail: changes with an entry that the sequencer has not entered yet. Of the transactions that were open when it looked,
-- those that are over, and one's own. (The upper bounds change nothing but the planner's estimate: a part of the log, however long.)
CREATE VIEW change_log_tail WITH (security_invoker = true) AS
    SELECT * FROM change_log c
    WHERE c.xid >= (SELECT pg_snapshot_xmax(p.seen) FROM change_log_now p) AND c.xid <= '18446744073709551615'::xid8 AND c.entry IS NOT NULL
      AND NOT (c.place <= (SELECT p.place FROM change_log_now p)
               AND coalesce(pg_visible_in_snapshot(c.xid, (SELECT p.target FROM change_log_now p)), false))
    UNION ALL
    SELECT * FROM change_log c
    WHERE c.xid = ANY (ARRAY(SELECT x FROM change_log_now p CROSS JOIN LATERAL pg_snapshot_xip(p.seen) x
                             WHERE pg_visible_in_snapshot(x, pg_current_snapshot()) OR x = pg_current_xact_id_if_assigned()))
      AND c.xid >= (SELECT pg_snapshot_xmin(p.seen) FROM change_log_now p) AND c.xid < (SELECT pg_snapshot_xmax(p.seen) FROM change_log_now p)
      AND c.entry IS NOT NULL
      AND NOT (c.place <= (SELECT p.place FROM change_log_now p)
               AND coalesce(pg_visible_in_snapshot(c.xid, (SELECT p.target FROM change_log_now p)), false));
GRANT SELECT ON change_log_tail TO rapport_tenant;

-- The audit log with the log's tail. (Without a condition the first part keeps the order of its indexes.)
CREATE VIEW audit_entries WITH (security_invoker = true) AS
    SELECT business_id, id, created_at, resource, row_id, action, actor_kind, actor_id, request_id, changes FROM audit_log
    UNION ALL
    SELECT business_id, rapport_entry_id(entry, changed_at), changed_at, replace(changed, '_', '-'), touched[1], action,
        rapport_actor_kind(actor), rapport_actor_id(actor), request_id, coalesce(changes, '{}')
    FROM change_log_tail;
GRANT SELECT ON audit_entries TO rapport_tenant;

-- Triggers: one for each table, which logs what changed and its entry.

DO $$
DECLARE
    audited regclass;
BEGIN
    FOR audited IN SELECT DISTINCT tgrelid::regclass FROM pg_trigger WHERE tgname IN ('audit_insert', 'audit_update', 'audit_delete') LOOP
        EXECUTE format('DROP TRIGGER IF EXISTS audit_insert ON %1$s; DROP TRIGGER IF EXISTS audit_update ON %1$s; DROP TRIGGER IF EXISTS audit_delete ON %1$s', audited);
        EXECUTE format('DROP FUNCTION IF EXISTS %I()', 'rapport_audit_update_' || (SELECT relname FROM pg_class WHERE oid = audited));
    END LOOP;
END $$;
-- squawk-ignore ban-drop-function
DROP FUNCTION rapport_audit_trigger(), rapport_enable_audit(regclass, text, text), rapport_log_changes(regclass, text);

-- Gives a table its triggers, and the function that they call, which names the columns: a migration that changes the columns of
-- such a table calls this again.
--
-- `owner` is what a row's business is, as SQL; `NULL` where it belongs to none: then an entry goes to the business that the
-- change was made in. `audited` are the kinds of statement with entries; `cached` is whether responses are made of the table.
--
-- They are triggers for each row, because a distributed table can fire those on its shards, and fire always: also where
-- `session_replication_role` keeps others from firing, as while a dump is restored. (There the entries come with the data.)
CREATE FUNCTION rapport_log_changes(tracked regclass, owner text DEFAULT 'business_id', audited text DEFAULT 'INSERT UPDATE DELETE', cached boolean DEFAULT true) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name constant text := (SELECT relname FROM pg_class WHERE oid = tracked);
    -- the row's id first, then its links
    columns constant text[] := ARRAY(
        SELECT attname::text FROM pg_attribute
        WHERE attrelid = tracked AND attnum > 0 AND NOT attisdropped AND atttypid = 'uuid'::regtype AND attname <> 'business_id'
        ORDER BY attname <> 'id', attnum);
    of_old constant text := (SELECT string_agg(format('OLD.%I', c), ', ') FROM unnest(columns) c);
    of_new constant text := (SELECT string_agg(format('NEW.%I', c), ', ') FROM unnest(columns) c);
    touches constant text := CASE WHEN cardinality(columns) = 1 THEN 'ARRAY[%s]' ELSE 'array_remove(ARRAY[%s], NULL)' END;
    nobody constant text := quote_literal('00000000-0000-0000-0000-000000000000');
    business_old constant text := coalesce('OLD.' || owner, nobody);
    business_new constant text := coalesce('NEW.' || owner, nobody);
    deletable constant boolean := EXISTS (SELECT FROM pg_attribute WHERE attrelid = tracked AND attname = 'deleted_at' AND NOT attisdropped);
    does text;
    -- the members of an entry's `changes`, as text
    updated text;
    deleted text;
    -- of an entry
    acted constant text := $sql$nullif(current_setting('rapport.actor', true), '')$sql$;
    request constant text := $sql$nullif(nullif(current_setting('rapport.request', true), ''), '-')$sql$;
    body text;
BEGIN
    -- (The entry of an erasure has no values. Rows of others, whose links to deleted rows are emptied, have their usual entries.)
    --
    -- For each column its JSON as text: a tenth of the time that jsonb_object_agg takes. JSON has one null where SQL has two, and
    -- a type may call values equal that it shows differently.
    SELECT string_agg(format(E'\n            CASE WHEN %s IS DISTINCT FROM %s THEN %L || coalesce(to_json(OLD.%I)::text, ''null'') || '',"new":'' || coalesce(to_json(NEW.%I)::text, ''null'') || ''}'' END',
            format(compared, 'NEW', attname), format(compared, 'OLD', attname), to_json(attname)::text || ':{"old":', attname, attname), ',' ORDER BY attnum),
        string_agg(format(E'\n            CASE WHEN OLD.%I IS NOT NULL THEN %L || to_json(OLD.%I)::text || ''}'' END',
            attname, to_json(attname)::text || ':{"old":', attname), ',' ORDER BY attnum)
    INTO STRICT updated, deleted
    FROM pg_attribute, LATERAL (SELECT CASE
        WHEN atttypid = ANY ('{uuid,text,boolean,smallint,integer,bigint,numeric,date,timestamptz,text[]}'::regtype[]) THEN '%s.%I'
        WHEN atttypid = 'jsonb'::regtype THEN 'coalesce(%s.%I, ''null'')'
        ELSE 'coalesce(to_jsonb(%s.%I), ''null'')' END AS compared) c
    WHERE attrelid = tracked AND attnum > 0 AND NOT attisdropped AND attname <> ALL (rapport_audit_omitted());

    body := format($function$
        CREATE OR REPLACE FUNCTION %I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $body$
        DECLARE
            done text;
            members text;
            touches uuid[];
        BEGIN
            IF current_setting('session_replication_role') = 'replica' THEN
                -- no entry
            $function$, 'rapport_log_' || name);
    FOREACH does IN ARRAY string_to_array(audited, ' ') LOOP
        body := body || CASE does
            WHEN 'INSERT' THEN $function$
            ELSIF TG_OP = 'INSERT' THEN
                done := 'created';
            $function$
            WHEN 'DELETE' THEN format($function$
            ELSIF TG_OP = 'DELETE' AND current_setting('rapport.erasing', true) = 'delete' THEN
                done := 'erased';
            ELSIF TG_OP = 'DELETE' THEN
                done := 'deleted';
                members := %s;
            $function$,
                -- no values of a session, whose address is personal data
                CASE name WHEN 'sessions' THEN 'NULL' ELSE format('concat_ws('','', %s)', deleted) END)
            ELSE format($function$
            ELSIF TG_OP = 'UPDATE' AND current_setting('rapport.erasing', true) = 'anonymise' THEN
                done := 'erased';
            ELSIF TG_OP = 'UPDATE' THEN
                members := concat_ws(',', %s);
                done := %s;
            $function$, updated, CASE WHEN deletable
                THEN $sql$CASE WHEN NEW.deleted_at IS DISTINCT FROM OLD.deleted_at THEN CASE WHEN NEW.deleted_at IS NULL THEN 'restored' ELSE 'deleted' END WHEN members <> '' THEN 'updated' END$sql$
                ELSE $sql$CASE WHEN members <> '' THEN 'updated' END$sql$ END)
            END;
    END LOOP;
    body := body || 'END IF;';
    body := body || format($function$
            IF TG_OP = 'INSERT' THEN
                touches := %s;
            ELSE
                touches := %s;
                IF TG_OP = 'UPDATE' AND (%s) IS DISTINCT FROM (%s) THEN
                    touches := touches || %s;
                END IF;
            END IF;
        $function$, format(touches, of_new), format(touches, of_old), of_old, of_new, format(touches, of_new));
    IF owner IS NULL THEN
        body := body || format($function$
            INSERT INTO change_log (business_id, xid, changed, touched) VALUES (%L, pg_current_xact_id(), %L, touches);
            IF done IS NOT NULL AND rapport_business() IS NOT NULL THEN
                INSERT INTO change_log (business_id, xid, changed, touched, entry, action, changed_at, actor, request_id, changes)
                VALUES (rapport_business(), pg_current_xact_id(), %L, touches, gen_random_uuid(), done, clock_timestamp(), %s, %s, ('{' || members || '}')::jsonb);
            END IF;
        $function$, '00000000-0000-0000-0000-000000000000', name, name, acted, request);
    ELSE
        body := body || format($function$
            IF TG_OP = 'UPDATE' AND %1$s IS DISTINCT FROM %2$s THEN
                INSERT INTO change_log (business_id, xid, changed, touched) VALUES (%1$s, pg_current_xact_id(), %3$L, touches);
            END IF;
            IF done IS NOT NULL THEN
                INSERT INTO change_log (business_id, xid, changed, touched, entry, action, changed_at, actor, request_id, changes)
                VALUES (CASE TG_OP WHEN 'DELETE' THEN %1$s ELSE %2$s END, pg_current_xact_id(), %3$L, touches, gen_random_uuid(), done, clock_timestamp(), %4$s, %5$s, ('{' || members || '}')::jsonb);
            $function$, business_old, business_new, name,
            -- the user who signs in is the actor
            CASE name WHEN 'sessions' THEN format($sql$CASE TG_OP WHEN 'INSERT' THEN coalesce(%1$s, 'user ' || NEW.user_id) ELSE %1$s END$sql$, acted) ELSE acted END,
            request);
        IF cached THEN
            body := body || format($function$
            ELSE
                INSERT INTO change_log (business_id, xid, changed, touched)
                VALUES (CASE TG_OP WHEN 'DELETE' THEN %s ELSE %s END, pg_current_xact_id(), %L, touches);
            $function$, business_old, business_new, name);
        END IF;
        body := body || 'END IF;';
    END IF;
    EXECUTE body || ' RETURN NULL; END $body$';
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %I() FROM PUBLIC', 'rapport_log_' || name);
    EXECUTE format('CREATE OR REPLACE TRIGGER log_change AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION %I()',
        tracked, 'rapport_log_' || name);
    EXECUTE format('CREATE OR REPLACE TRIGGER log_truncate AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION rapport_log_truncate()', tracked);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER log_change, ENABLE ALWAYS TRIGGER log_truncate', tracked);
END $$;

-- One line for each table that responses, credentials or entries are made of; tables of later migrations have theirs beside
-- them.
SELECT rapport_log_changes('businesses', 'id');
SELECT rapport_log_changes('users', NULL);
SELECT rapport_log_changes('memberships');
SELECT rapport_log_changes('api_keys');
-- signing in and out, not each renewal
SELECT rapport_log_changes('sessions', 'business_id', 'INSERT DELETE');
SELECT rapport_log_changes('invitations');
SELECT rapport_log_changes('companies');
SELECT rapport_log_changes('contacts');
SELECT rapport_log_changes('campaigns');
SELECT rapport_log_changes('leads');
SELECT rapport_log_changes('conversations');
SELECT rapport_log_changes('messages');
SELECT rapport_log_changes('services');
SELECT rapport_log_changes('staff');
SELECT rapport_log_changes('bookings');
SELECT rapport_log_changes('tasks');
SELECT rapport_log_changes('notes');
SELECT rapport_log_changes('decisions');
SELECT rapport_log_changes('merges');
SELECT rapport_log_changes('webhooks');
-- their responses are not cached, and they are purged without entries
SELECT rapport_log_changes('jobs', 'business_id', 'INSERT UPDATE', false);
SELECT rapport_log_changes('imports', 'business_id', 'INSERT UPDATE', false);

-- The sequencer.

-- Businesses whose events after `after` have no deliveries to webhooks yet.
CREATE TABLE webhook_backlogs (
    business_id uuid PRIMARY KEY,
    after bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_analyze_threshold = 1000000000);

-- Numbers what is queued for the event log of before, which no sequencer does meanwhile.
SELECT pg_advisory_xact_lock(hashtextextended('rapport events', 0));
WITH heads AS MATERIALIZED (
    SELECT b.business_id, coalesce((SELECT max(sequence) FROM events e WHERE e.business_id = b.business_id), 0) AS last
    FROM (SELECT DISTINCT business_id FROM event_outbox) b
), written AS (
    INSERT INTO events (business_id, id, sequence, resource, action, row_id, created_at)
    SELECT q.business_id, q.id, h.last + row_number() OVER (PARTITION BY q.business_id ORDER BY q.place), a.resource, a.action, a.row_id, a.created_at
    FROM event_outbox q JOIN heads h ON h.business_id = q.business_id JOIN audit_log a ON a.business_id = q.business_id AND a.id = q.id
    RETURNING business_id, sequence
)
INSERT INTO webhook_backlogs SELECT business_id, min(sequence) - 1 FROM written
WHERE EXISTS (SELECT FROM webhooks w WHERE w.business_id = written.business_id) GROUP BY business_id;
-- squawk-ignore ban-drop-function
DROP FUNCTION rapport_sequence_events(integer, jsonb);
-- squawk-ignore ban-drop-table
DROP TABLE event_outbox;
-- squawk-ignore ban-drop-sequence
DROP SEQUENCE event_outbox_place_seq;

-- One sequencer at a time works.
CREATE FUNCTION rapport_sequencer_lock() RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtextextended('rapport events', 0)
$$;

-- Held while changes are entered, and shared by erasures, which empty entries: either sees what the other did.
CREATE FUNCTION rapport_entries_lock() RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtextextended('rapport entries', 0)
$$;

CREATE FUNCTION rapport_this_server() RETURNS text LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT concat_ws('/', s.system_identifier, d.oid) FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()
$$;

-- Whether the sequencer has something to do. (The planner does not know that few transactions were open.)
CREATE FUNCTION rapport_is_sequencer_behind() RETURNS boolean LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    here change_log_position;
    ended xid8[];
BEGIN
    SELECT * INTO here FROM change_log_now;
    IF here.number IS NULL OR here.server <> rapport_this_server() OR pg_snapshot_xmax(here.seen) > pg_snapshot_xmax(pg_current_snapshot())
        OR EXISTS (SELECT FROM webhook_backlogs) OR EXISTS (
            SELECT FROM change_log c WHERE c.xid >= pg_snapshot_xmax(here.seen) AND c.xid < pg_snapshot_xmax(pg_current_snapshot())) THEN
        RETURN true;
    END IF;
    ended := ARRAY(SELECT x FROM pg_snapshot_xip(here.seen) x WHERE pg_visible_in_snapshot(x, pg_current_snapshot()));
    RETURN ended <> '{}' AND EXISTS (SELECT FROM change_log c WHERE c.xid = ANY (ended));
END $$;

-- Compares the position with the server, with each `migrate` and by each sequencer. Where a dump was restored, the numbers of its
-- transactions are another server's: what the audit log does not have yet becomes a change of this transaction.
CREATE FUNCTION rapport_check_sequencer() RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    here constant text := rapport_this_server();
BEGIN
    FOR locked IN 0..1 LOOP
        IF EXISTS (SELECT FROM change_log_now p WHERE p.server = here AND pg_snapshot_xmax(p.seen) <= pg_snapshot_xmax(pg_current_snapshot())) THEN
            RETURN;
        END IF;
        -- Another one may check meanwhile.
        PERFORM pg_advisory_xact_lock(rapport_sequencer_lock());
    END LOOP;
    -- Nobody is writing, so that what is in the log is committed. (Erasures have written before they take the lock of entries, so
    -- this waits for the table and not for that.)
    LOCK TABLE change_log IN SHARE ROW EXCLUSIVE MODE;
    -- One look-up for each, however long the audit log is.
    UPDATE change_log SET entry = NULL WHERE ctid = ANY (ARRAY(
        SELECT c.ctid FROM change_log c CROSS JOIN LATERAL (
            SELECT FROM audit_log a WHERE a.business_id = c.business_id AND a.id = rapport_entry_id(c.entry, c.changed_at) OFFSET 0) a
        WHERE c.entry IS NOT NULL));
    UPDATE change_log SET xid = pg_current_xact_id() WHERE entry IS NOT NULL OR xid >= pg_snapshot_xmax(pg_current_snapshot());
    DELETE FROM change_log_position;
    -- It saw nothing. (A snapshot of now would count this transaction as over where others have ended since it began.)
    INSERT INTO change_log_position (number, server, seen, place) VALUES (1, here, '1:1:', 0);
END $$;
REVOKE EXECUTE ON FUNCTION rapport_check_sequencer() FROM PUBLIC;

-- No change has an entry yet, and nobody can write one before this is committed.
INSERT INTO change_log_position (number, server, seen, place) VALUES (1, rapport_this_server(), '1:1:', 0);

-- Enters up to `most` changes, of 16 MB unless one is larger, into the audit log, and gives them the next numbers of their
-- businesses. Returns how many, and whether there are more; none while another sequencer works. (A change that is in the audit log
-- already came with a dump.)
--
-- In the order of their places, which are drawn while the row is locked: of two successive changes of a row the later one has
-- the greater place, independent of clocks, and is visible only where the earlier one is. So the changes that one snapshot sees
-- and the last did not are entered before those of the next.
--
-- It waits a moment (lock_timeout) for erasures, and for writers if it has to check a dump.
CREATE FUNCTION rapport_sequence_changes(most integer, OUT entered integer, OUT has_more boolean) LANGUAGE plpgsql
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_nestloop = off SET jit = off SET lock_timeout = '200ms' AS $$
DECLARE
    here change_log_position;
    found tid[];
    chosen tid[];
    last bigint;
    erased uuid[];
    erased_by uuid[];
    erased_at timestamptz[];
BEGIN
    entered := 0;
    has_more := false;
    IF NOT pg_try_advisory_xact_lock(rapport_sequencer_lock()) THEN
        RETURN;
    END IF;
    BEGIN
        PERFORM rapport_check_sequencer();
        PERFORM pg_advisory_xact_lock(rapport_entries_lock());
    EXCEPTION WHEN lock_not_available THEN
        RETURN;
    END;
    SELECT * INTO here FROM change_log_now;
    IF here.target IS NULL THEN
        -- Later statements see at least what this snapshot does.
        here.target := pg_current_snapshot();
        found := ARRAY(
            SELECT c.ctid FROM (
                SELECT ctid, xid, entry FROM change_log WHERE xid >= pg_snapshot_xmax(here.seen) AND xid < pg_snapshot_xmax(here.target)
                UNION ALL
                SELECT ctid, xid, entry FROM change_log WHERE xid = ANY (ARRAY(
                    SELECT x FROM pg_snapshot_xip(here.seen) x WHERE pg_visible_in_snapshot(x, here.target)))) c
            WHERE c.entry IS NOT NULL AND pg_visible_in_snapshot(c.xid, here.target) LIMIT most + 1);
    END IF;
    IF here.place > 0 OR cardinality(found) > most THEN
        -- More than one pass: it walks the log by place, from where the last one ended.
        found := ARRAY(
            SELECT ctid FROM change_log
            WHERE entry IS NOT NULL AND place > here.place AND pg_visible_in_snapshot(xid, here.target) AND NOT pg_visible_in_snapshot(xid, here.seen)
            ORDER BY place LIMIT most + 1);
    END IF;
    SELECT array_agg(c.ctid), max(c.place) INTO chosen, last FROM (
        SELECT ctid, place, row_number() OVER places AS number,
            sum(coalesce(pg_column_size(changes), 0)) OVER places - coalesce(pg_column_size(changes), 0) AS size
        FROM change_log WHERE ctid = ANY (found) WINDOW places AS (ORDER BY place)) c
    WHERE c.number <= most AND c.size < 16000000;
    has_more := cardinality(found) > coalesce(cardinality(chosen), 0);
    WITH taken AS MATERIALIZED (
        SELECT c.*, rapport_entry_id(c.entry, c.changed_at) AS id FROM change_log c WHERE c.ctid = ANY (chosen)
    ), added AS (
        INSERT INTO audit_log (business_id, id, created_at, resource, row_id, action, actor_kind, actor_id, request_id, changes)
        SELECT t.business_id, t.id, t.changed_at, replace(t.changed, '_', '-'), t.touched[1], t.action, rapport_actor_kind(t.actor),
            rapport_actor_id(t.actor), t.request_id, coalesce(t.changes, '{}')
        FROM taken t ORDER BY t.place
        ON CONFLICT (business_id, id) DO NOTHING
        RETURNING business_id, id
    ), numbered AS MATERIALIZED (
        SELECT t.* FROM taken t JOIN added a ON a.id = t.id AND a.business_id = t.business_id WHERE t.changed <> 'sessions'
    ), heads AS MATERIALIZED (
        -- OFFSET 0: one look-up for each business
        SELECT b.business_id, coalesce(h.sequence, 0) AS newest, EXISTS (SELECT FROM webhooks w WHERE w.business_id = b.business_id) AS has_webhooks
        FROM (SELECT DISTINCT business_id FROM numbered) b LEFT JOIN LATERAL (
            SELECT max(e.sequence) AS sequence FROM events e WHERE e.business_id = b.business_id OFFSET 0) h ON true
    ), written AS (
        INSERT INTO events (business_id, id, sequence, resource, action, row_id, created_at)
        SELECT t.business_id, t.id, h.newest + row_number() OVER (PARTITION BY t.business_id ORDER BY t.place),
            replace(t.changed, '_', '-'), t.action, t.touched[1], t.changed_at
        FROM numbered t JOIN heads h ON h.business_id = t.business_id
    ), backlogs AS (
        INSERT INTO webhook_backlogs (business_id, after) SELECT h.business_id, h.newest FROM heads h WHERE h.has_webhooks
        ON CONFLICT DO NOTHING
    )
    SELECT count(*), array_agg(t.touched[1]) FILTER (WHERE t.action = 'erased'), array_agg(t.business_id) FILTER (WHERE t.action = 'erased'),
        array_agg(t.changed_at) FILTER (WHERE t.action = 'erased')
    INTO entered, erased, erased_by, erased_at FROM taken t;
    IF erased IS NOT NULL THEN
        -- An erasure empties the entries that it sees. Those of changes before it may have been entered since.
        UPDATE audit_log SET changes = '{}' WHERE ctid = ANY (ARRAY(
            SELECT a.ctid FROM unnest(erased, erased_by, erased_at) AS e (row_id, business_id, at) CROSS JOIN LATERAL (
                SELECT a.ctid FROM audit_log a WHERE a.business_id = e.business_id AND a.row_id = e.row_id
                    AND a.created_at <= e.at AND a.changes <> '{}' OFFSET 0) a));
    END IF;
    INSERT INTO change_log_position (number, server, seen, target, place) VALUES (here.number + 1, here.server,
        CASE WHEN has_more THEN here.seen ELSE here.target END, CASE WHEN has_more THEN here.target END, CASE WHEN has_more THEN last ELSE 0 END);
    DELETE FROM change_log_position WHERE number <= here.number;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_sequence_changes(integer) FROM PUBLIC;

-- Makes about `most` deliveries of events to webhooks that want them. Returns how many events it did, and whether there are more
-- that it could do now; none, while another sequencer works. `names` are the resources that are sent, by their plural: {"leads":
-- "lead"}.
--
-- It skips a business whose lock it cannot get within a moment (lock_timeout): its events wait for the next time. After two such
-- waits it tries only locks that are free. It takes at most 500 locks at once, because the table of locks is finite.
CREATE FUNCTION rapport_add_deliveries(most integer, names jsonb, OUT events bigint, OUT has_more boolean) LANGUAGE plpgsql
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET lock_timeout = '50ms' AS $$
DECLARE
    held uuid[] := '{}';
    waited integer := 0;
    one uuid;
    had boolean;
BEGIN
    events := 0;
    has_more := false;
    IF NOT pg_try_advisory_xact_lock(rapport_sequencer_lock()) THEN
        RETURN;
    END IF;
    FOR one IN SELECT b.business_id FROM webhook_backlogs b ORDER BY random() LIMIT 500 LOOP
        had := pg_try_advisory_xact_lock(rapport_webhook_lock(one));
        IF NOT had AND waited < 2 THEN
            BEGIN
                PERFORM pg_advisory_xact_lock(rapport_webhook_lock(one));
                had := true;
            EXCEPTION WHEN lock_not_available THEN
                waited := waited + 1;
            END;
        END IF;
        IF had THEN
            held := held || one;
        END IF;
    END LOOP;
    IF held = '{}' THEN
        RETURN;
    END IF;
    -- Each business gets its share. This statement sees what the locks were waited for.
    WITH behind AS MATERIALIZED (
        SELECT b.business_id, b.after, greatest(1, most / cardinality(held) / greatest(1, w.webhooks)) AS share
        FROM webhook_backlogs b CROSS JOIN LATERAL (
            SELECT count(*) AS webhooks FROM webhooks w WHERE w.business_id = b.business_id OFFSET 0) w
        WHERE b.business_id = ANY (held)
    ), due AS MATERIALIZED (
        SELECT e.*, names ->> e.resource AS name FROM behind b CROSS JOIN LATERAL (
            SELECT * FROM events e WHERE e.business_id = b.business_id AND e.sequence > b.after ORDER BY e.sequence LIMIT b.share) e
    ), reached AS MATERIALIZED (
        SELECT b.business_id, b.share, count(d.sequence) AS found, max(d.sequence) AS last
        FROM behind b LEFT JOIN due d ON d.business_id = b.business_id GROUP BY b.business_id, b.share
    ), added AS (
        INSERT INTO webhook_deliveries (business_id, webhook_id, event_id, sequence, event_type, row_id, status)
        SELECT e.business_id, w.id, e.id, e.sequence, e.name || '.' || e.action, e.row_id,
            CASE WHEN row_number() OVER (PARTITION BY e.business_id, w.id, e.row_id ORDER BY e.sequence) > 1 OR EXISTS (
                SELECT FROM webhook_deliveries o WHERE o.business_id = e.business_id AND o.webhook_id = w.id
                  AND o.row_id = e.row_id AND o.status IN ('waiting', 'pending')) THEN 'waiting' ELSE 'pending' END
        FROM due e JOIN webhooks w ON w.business_id = e.business_id AND rapport_webhook_wants(w.types, e.name, e.action)
        -- A replay may have been faster. (What it has delivered holds back no other: nobody would wake that.)
        WHERE e.name IS NOT NULL AND NOT EXISTS (SELECT FROM webhook_deliveries o
            WHERE o.business_id = e.business_id AND o.webhook_id = w.id AND o.event_id = e.id)
        ORDER BY e.business_id, e.sequence
        ON CONFLICT ON CONSTRAINT webhook_deliveries_event_id_key DO NOTHING
    ), moved AS (
        UPDATE webhook_backlogs b SET after = r.last FROM reached r WHERE b.business_id = r.business_id AND r.found = r.share
    ), done AS (
        DELETE FROM webhook_backlogs b USING reached r WHERE b.business_id = r.business_id AND r.found < r.share
    )
    SELECT coalesce(sum(r.found), 0), coalesce(bool_or(r.found = r.share), false) INTO events, has_more FROM reached r;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_add_deliveries(integer, jsonb) FROM PUBLIC;

-- As before, and it keeps what the sequencer has not entered.
CREATE OR REPLACE FUNCTION rapport_trim_change_log(keep interval, most integer) RETURNS integer LANGUAGE plpgsql
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    -- Read once: the clock may step back.
    at constant timestamptz := clock_timestamp();
    oldest timestamptz;
    horizon pg_snapshot;
    entered constant pg_snapshot := (SELECT p.seen FROM change_log_now p WHERE p.server = rapport_this_server());
    removed integer;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('rapport change log', 0)) THEN
        RETURN 0;
    END IF;
    -- Of another server, whose dump was restored here, or of a clock that was ahead.
    DELETE FROM change_log_horizons WHERE epoch IS DISTINCT FROM rapport_cache_epoch() OR taken_at > at;
    IF NOT EXISTS (SELECT FROM change_log_horizons WHERE taken_at > at - interval '1 minute') THEN
        PERFORM rapport_add_horizon(at);
    END IF;
    SELECT taken_at, snapshot INTO oldest, horizon FROM change_log_horizons WHERE taken_at <= at - keep ORDER BY taken_at DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    DELETE FROM change_log WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM change_log WHERE xid < pg_snapshot_xmax(horizon) AND pg_visible_in_snapshot(xid, horizon)
            AND pg_visible_in_snapshot(xid, entered)
        ORDER BY xid LIMIT most));
    GET DIAGNOSTICS removed = ROW_COUNT;
    -- It saw what earlier ones saw, so one is enough to tell what may be missing.
    IF removed > 0 THEN
        UPDATE change_log_horizons SET has_removed = true WHERE taken_at = oldest AND NOT has_removed;
        DELETE FROM change_log_horizons WHERE taken_at < oldest;
    ELSE
        DELETE FROM change_log_horizons WHERE taken_at < oldest AND NOT has_removed;
    END IF;
    RETURN removed;
END $$;

-- Whether an entry's `changes` name a value that a merge brought to its survivor, or a field that it changed until it was undone.
CREATE FUNCTION rapport_names_merged(merged jsonb, reverted_at timestamptz, changes jsonb, at timestamptz) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT EXISTS (SELECT FROM jsonb_each(merged) f WHERE changes ? f.key
        AND ((f.value -> 'new' NOT IN ('null', '[]', '{}')
              AND (changes -> f.key -> 'old' @> (f.value -> 'new') OR changes -> f.key -> 'new' @> (f.value -> 'new')))
             OR at <= coalesce(reverted_at, 'infinity')))
$$;

-- Erasures empty the log's tail, too, and what is left in the log of changes that were entered. They wait for a sequencer that
-- has read what they empty.
CREATE OR REPLACE FUNCTION rapport_erase_audit(forgotten uuid[]) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT pg_advisory_xact_lock_shared(rapport_entries_lock());
    UPDATE audit_log SET changes = '{}' WHERE business_id = rapport_business() AND row_id = ANY (forgotten) AND changes <> '{}';
    UPDATE change_log SET changes = NULL WHERE business_id = rapport_business() AND touched[1] = ANY (forgotten) AND changes IS NOT NULL;
    SELECT pg_advisory_xact_lock(rapport_webhook_lock(rapport_business()));
    UPDATE webhook_deliveries SET log = '{}' WHERE business_id = rapport_business() AND row_id = ANY (forgotten) AND log <> '{}'
$$;
CREATE OR REPLACE FUNCTION rapport_erase_merged(undone uuid[]) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT pg_advisory_xact_lock_shared(rapport_entries_lock()) WHERE undone <> '{}';
    UPDATE audit_log a SET changes = '{}' FROM merges m
    WHERE m.business_id = rapport_business() AND m.id = ANY (undone) AND a.business_id = m.business_id
      AND a.row_id = m.survivor_id AND a.created_at >= m.created_at AND a.changes <> '{}'
      AND rapport_names_merged(m.changes, m.reverted_at, a.changes, a.created_at);
    UPDATE change_log c SET changes = NULL FROM merges m
    WHERE m.business_id = rapport_business() AND m.id = ANY (undone) AND c.business_id = m.business_id
      AND c.touched[1] = m.survivor_id AND c.changed_at >= m.created_at AND c.changes IS NOT NULL
      AND rapport_names_merged(m.changes, m.reverted_at, c.changes, c.changed_at);
    UPDATE webhook_deliveries d SET log = '{}' FROM merges m
    WHERE m.business_id = rapport_business() AND m.id = ANY (undone) AND d.business_id = m.business_id
      AND d.row_id = m.survivor_id AND d.created_at >= m.created_at AND d.log <> '{}'
$$;
