-- No sequencer works from here on, and no writer when the triggers are gone.
SELECT pg_advisory_xact_lock(rapport_sequencer_lock());

DO $$
DECLARE
    tracked regclass;
    name text;
BEGIN
    FOR tracked, name IN SELECT t.tgrelid::regclass, c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE t.tgname = 'log_change' LOOP
        EXECUTE format('DROP TRIGGER log_change ON %1$s; DROP TRIGGER log_truncate ON %1$s; DROP FUNCTION %2$I()', tracked, 'rapport_log_' || name);
    END LOOP;
END $$;
CREATE SEQUENCE event_outbox_place_seq CACHE 1 NO CYCLE;
CREATE TABLE event_outbox (
    place bigint PRIMARY KEY DEFAULT nextval('event_outbox_place_seq'),
    business_id uuid NOT NULL,
    id uuid NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_analyze_threshold = 1000000000);

-- What the sequencer has not entered goes into the audit log and the outbox; events without deliveries go back into the outbox.
SELECT rapport_check_sequencer();
CREATE TEMP TABLE left_over ON COMMIT DROP AS
    SELECT place, business_id, rapport_entry_id(entry, changed_at) AS id, changed_at, replace(changed, '_', '-') AS resource, touched[1] AS row_id, action,
        rapport_actor_kind(actor) AS actor_kind, rapport_actor_id(actor) AS actor_id, request_id, coalesce(changes, '{}') AS changes
    FROM change_log_tail;
INSERT INTO audit_log (business_id, id, created_at, resource, row_id, action, actor_kind, actor_id, request_id, changes)
    SELECT business_id, id, changed_at, resource, row_id, action, actor_kind, actor_id, request_id, changes FROM left_over;
WITH undelivered AS (
    DELETE FROM events e USING webhook_backlogs b WHERE e.business_id = b.business_id AND e.sequence > b.after RETURNING e.*
)
INSERT INTO event_outbox (business_id, id) SELECT business_id, id FROM (
    SELECT 0 AS part, sequence AS place, business_id, id FROM undelivered
    UNION ALL SELECT 1, place, business_id, id FROM left_over WHERE resource <> 'sessions') o ORDER BY part, place;

DROP FUNCTION rapport_log_changes(regclass, text, text, boolean), rapport_is_sequencer_behind(), rapport_check_sequencer(),
    rapport_sequence_changes(integer), rapport_add_deliveries(integer, jsonb);
DROP VIEW audit_entries, change_log_tail, change_log_now;
DROP FUNCTION rapport_entry_id(uuid, timestamptz), rapport_actor_kind(text), rapport_actor_id(text), rapport_this_server(), rapport_entries_lock();
DROP TABLE change_log_position, webhook_backlogs;
DROP POLICY tenant_isolation ON change_log;
ALTER TABLE change_log DISABLE ROW LEVEL SECURITY;
REVOKE SELECT ON change_log FROM rapport_tenant;
ALTER TABLE change_log DROP COLUMN entry, DROP COLUMN action, DROP COLUMN changed_at, DROP COLUMN actor, DROP COLUMN request_id,
    DROP COLUMN changes;

CREATE OR REPLACE FUNCTION rapport_erase_audit(forgotten uuid[]) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE audit_log SET changes = '{}' WHERE business_id = rapport_business() AND row_id = ANY (forgotten) AND changes <> '{}';
    SELECT pg_advisory_xact_lock(rapport_webhook_lock(rapport_business()));
    UPDATE webhook_deliveries SET log = '{}' WHERE business_id = rapport_business() AND row_id = ANY (forgotten) AND log <> '{}'
$$;
CREATE OR REPLACE FUNCTION rapport_erase_merged(undone uuid[]) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE audit_log a SET changes = '{}' FROM merges m
    WHERE m.business_id = rapport_business() AND m.id = ANY (undone) AND a.business_id = m.business_id
      AND a.row_id = m.survivor_id AND a.created_at >= m.created_at AND a.changes <> '{}'
      AND EXISTS (SELECT FROM jsonb_each(m.changes) f WHERE a.changes ? f.key
          AND ((f.value -> 'new' NOT IN ('null', '[]', '{}')
                AND (a.changes -> f.key -> 'old' @> (f.value -> 'new') OR a.changes -> f.key -> 'new' @> (f.value -> 'new')))
               OR a.created_at <= coalesce(m.reverted_at, 'infinity')));
    UPDATE webhook_deliveries d SET log = '{}' FROM merges m
    WHERE m.business_id = rapport_business() AND m.id = ANY (undone) AND d.business_id = m.business_id
      AND d.row_id = m.survivor_id AND d.created_at >= m.created_at AND d.log <> '{}'
$$;
DROP FUNCTION rapport_names_merged(jsonb, timestamptz, jsonb, timestamptz), rapport_sequencer_lock();
CREATE OR REPLACE FUNCTION rapport_trim_change_log(keep interval, most integer) RETURNS integer LANGUAGE plpgsql
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    at constant timestamptz := clock_timestamp();
    oldest timestamptz;
    horizon pg_snapshot;
    removed integer;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('rapport change log', 0)) THEN
        RETURN 0;
    END IF;
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
        ORDER BY xid LIMIT most));
    GET DIAGNOSTICS removed = ROW_COUNT;
    IF removed > 0 THEN
        UPDATE change_log_horizons SET has_removed = true WHERE taken_at = oldest AND NOT has_removed;
        DELETE FROM change_log_horizons WHERE taken_at < oldest;
    ELSE
        DELETE FROM change_log_horizons WHERE taken_at < oldest AND NOT has_removed;
    END IF;
    RETURN removed;
END $$;

CREATE FUNCTION rapport_log_changes(tracked regclass, owner text DEFAULT 'business_id') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name constant text := (SELECT relname FROM pg_class WHERE oid = tracked);
    columns constant text[] := ARRAY(
        SELECT attname::text FROM pg_attribute
        WHERE attrelid = tracked AND attnum > 0 AND NOT attisdropped AND atttypid = 'uuid'::regtype AND attname <> 'business_id'
        ORDER BY attname <> 'id', attnum);
    of_old constant text := (SELECT string_agg(format('OLD.%I', c), ', ') FROM unnest(columns) c);
    of_new constant text := (SELECT string_agg(format('NEW.%I', c), ', ') FROM unnest(columns) c);
    nobody constant text := quote_literal('00000000-0000-0000-0000-000000000000');
    business_old constant text := coalesce('OLD.' || owner, nobody);
    business_new constant text := coalesce('NEW.' || owner, nobody);
    touches constant text := CASE WHEN cardinality(columns) = 1 THEN 'ARRAY[%s]' ELSE 'array_remove(ARRAY[%s], NULL)' END;
    adds constant text := format('INSERT INTO change_log (business_id, xid, changed, touched) VALUES (%%s, pg_current_xact_id(), %L, %s);', name, touches);
BEGIN
    EXECUTE format($function$
        CREATE OR REPLACE FUNCTION %I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $body$
        BEGIN
            IF TG_OP <> 'INSERT' THEN
                %s
            END IF;
            IF TG_OP = 'INSERT' OR TG_OP = 'UPDATE' AND (%s, %s) IS DISTINCT FROM (%s, %s) THEN
                %s
            END IF;
            RETURN NULL;
        END $body$
        $function$, 'rapport_log_' || name, format(adds, business_old, of_old),
        business_old, of_old, business_new, of_new, format(adds, business_new, of_new));
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %I() FROM PUBLIC', 'rapport_log_' || name);
    EXECUTE format('CREATE OR REPLACE TRIGGER log_change AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION %I()',
        tracked, 'rapport_log_' || name);
    EXECUTE format('CREATE OR REPLACE TRIGGER log_truncate AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION rapport_log_truncate()', tracked);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER log_change, ENABLE ALWAYS TRIGGER log_truncate', tracked);
END $$;

SELECT rapport_log_changes('businesses', 'id');
SELECT rapport_log_changes('users', NULL);
SELECT rapport_log_changes('memberships');
SELECT rapport_log_changes('api_keys');
SELECT rapport_log_changes('sessions');
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

CREATE FUNCTION rapport_audit_trigger() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_nestloop = off SET jit = off AS $$
<<entry>>
DECLARE
    resource constant text := replace(TG_TABLE_NAME, '_', '-');
    tenant constant text := coalesce(TG_ARGV[0], 'business_id');
    here constant uuid := rapport_business();
    actor constant text[] := string_to_array(nullif(current_setting('rapport.actor', true), ''), ' ');
    kind constant text := coalesce(actor[1], 'system');
    actor_id constant uuid := actor[2];
    request constant text := nullif(nullif(current_setting('rapport.request', true), ''), '-');
    omitted constant text[] := rapport_audit_omitted();
BEGIN
    IF TG_OP = 'INSERT' AND entry.tenant = 'business_id' AND entry.resource <> 'sessions' THEN
        WITH logged AS (
            INSERT INTO audit_log (business_id, resource, row_id, action, actor_kind, actor_id, request_id)
            SELECT a.business_id, entry.resource, a.id, 'created', entry.kind, entry.actor_id, entry.request FROM after a
            RETURNING business_id, id)
        INSERT INTO event_outbox (business_id, id) SELECT business_id, id FROM logged;
    ELSIF TG_OP = 'INSERT' THEN
        WITH logged AS (
            INSERT INTO audit_log (business_id, resource, row_id, action, actor_kind, actor_id, request_id)
            SELECT coalesce((row_is ->> tenant)::uuid, here), resource, (row_is ->> 'id')::uuid, 'created',
                CASE WHEN resource = 'sessions' AND actor IS NULL THEN 'user' ELSE kind END,
                CASE WHEN resource = 'sessions' AND actor IS NULL THEN (row_is ->> 'user_id')::uuid ELSE actor_id END, request
            FROM (SELECT to_jsonb(a) AS row_is FROM after a OFFSET 0) a
            WHERE coalesce((row_is ->> tenant)::uuid, here) IS NOT NULL
            RETURNING business_id, id)
        INSERT INTO event_outbox (business_id, id) SELECT business_id, id FROM logged WHERE resource <> 'sessions';
    ELSIF TG_OP = 'DELETE' AND current_setting('rapport.erasing', true) = 'delete' THEN
        WITH logged AS (
            INSERT INTO audit_log (business_id, resource, row_id, action, actor_kind, actor_id, request_id)
            SELECT coalesce((row_was ->> tenant)::uuid, here), resource, (row_was ->> 'id')::uuid, 'erased', kind, actor_id, request
            FROM (SELECT to_jsonb(b) AS row_was FROM before b OFFSET 0) b
            RETURNING business_id, id)
        INSERT INTO event_outbox (business_id, id) SELECT business_id, id FROM logged WHERE resource <> 'sessions';
    ELSIF TG_OP = 'DELETE' THEN
        WITH logged AS (
            INSERT INTO audit_log (business_id, resource, row_id, action, actor_kind, actor_id, request_id, changes)
            SELECT coalesce((row_was ->> tenant)::uuid, here), resource, (row_was ->> 'id')::uuid, 'deleted', kind, actor_id, request,
                coalesce((SELECT jsonb_object_agg(key, jsonb_build_object('old', value)) FROM jsonb_each(row_was)
                          WHERE value <> 'null' AND key <> ALL (omitted) AND resource <> 'sessions'), '{}')
            FROM (SELECT to_jsonb(b) AS row_was FROM before b OFFSET 0) b
            WHERE coalesce((row_was ->> tenant)::uuid, here) IS NOT NULL
            RETURNING business_id, id)
        INSERT INTO event_outbox (business_id, id) SELECT business_id, id FROM logged WHERE resource <> 'sessions';
    ELSE
        RAISE EXCEPTION 'the audit log has no entries for % of %', TG_OP, TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION rapport_enable_audit(audited regclass, tenant text DEFAULT 'business_id', events text DEFAULT 'INSERT UPDATE DELETE') RETURNS void LANGUAGE plpgsql AS $enable$
DECLARE
    name constant text := (SELECT relname FROM pg_class WHERE oid = audited);
    called constant text := 'rapport_audit_update_' || name;
    deletable constant boolean := EXISTS (SELECT FROM pg_attribute WHERE attrelid = audited AND attname = 'deleted_at' AND NOT attisdropped);
    business constant text := CASE WHEN EXISTS (SELECT FROM pg_attribute WHERE attrelid = audited AND attname = tenant AND NOT attisdropped)
                                   THEN format('coalesce(r.%I, entry.here)', tenant) ELSE 'entry.here' END;
    event text;
    seen text;
    differences text;
BEGIN
    FOR event, seen IN VALUES ('INSERT', 'NEW TABLE AS after'), ('DELETE', 'OLD TABLE AS before') LOOP
        IF event = ANY (string_to_array(events, ' ')) THEN
            EXECUTE format('CREATE OR REPLACE TRIGGER audit_%s AFTER %s ON %s REFERENCING %s FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger(%L)',
                lower(event), event, audited, seen, tenant);
        END IF;
    END LOOP;
    IF 'UPDATE' <> ALL (string_to_array(events, ' ')) THEN
        RETURN;
    END IF;
    SELECT string_agg(format(E'\n                    CASE WHEN %s IS DISTINCT FROM %s THEN %L || coalesce(to_json(b.%I)::text, ''null'') || '',"new":'' || coalesce(to_json(r.%I)::text, ''null'') || ''}'' END',
            format(compared, 'r', attname), format(compared, 'b', attname), to_json(attname)::text || ':{"old":', attname, attname), ',' ORDER BY attnum)
    INTO STRICT differences
    FROM pg_attribute, LATERAL (SELECT CASE
        WHEN atttypid = ANY ('{uuid,text,boolean,smallint,integer,bigint,numeric,date,timestamptz}'::regtype[]) THEN '%s.%I'
        WHEN atttypid = 'jsonb'::regtype THEN 'coalesce(%s.%I, ''null'')'
        ELSE 'coalesce(to_jsonb(%s.%I), ''null'')' END AS compared) c
    WHERE attrelid = audited AND attnum > 0 AND NOT attisdropped AND attname <> ALL (rapport_audit_omitted());

    EXECUTE format($function$
CREATE OR REPLACE FUNCTION %1$I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_nestloop = off SET jit = off AS $body$
<<entry>>
DECLARE
    here constant uuid := rapport_business();
    actor constant text[] := string_to_array(nullif(current_setting('rapport.actor', true), ''), ' ');
    kind constant text := coalesce(actor[1], 'system');
    actor_id constant uuid := actor[2];
    request constant text := nullif(nullif(current_setting('rapport.request', true), ''), '-');
BEGIN
    IF current_setting('rapport.erasing', true) = 'anonymise' THEN
        WITH logged AS (
            INSERT INTO audit_log (business_id, resource, row_id, action, actor_kind, actor_id, request_id)
            SELECT %2$s, %3$L, r.id, 'erased', entry.kind, entry.actor_id, entry.request FROM before r
            RETURNING business_id, id)
        INSERT INTO event_outbox (business_id, id) SELECT business_id, id FROM logged;
    ELSE
        WITH logged AS (
            INSERT INTO audit_log (business_id, resource, row_id, action, actor_kind, actor_id, request_id, changes)
            SELECT changed.business, %3$L, changed.id, changed.action, entry.kind, entry.actor_id, entry.request, ('{' || changed.differences || '}')::jsonb
            FROM (SELECT %2$s AS business, r.id, %4$s AS action, concat_ws(',', %5$s) AS differences
                  FROM after r JOIN before b ON r.id = b.id OFFSET 0) changed
            WHERE (changed.differences <> '' OR changed.action <> 'updated') AND changed.business IS NOT NULL
            RETURNING business_id, id)
        INSERT INTO event_outbox (business_id, id) SELECT business_id, id FROM logged;
    END IF;
    RETURN NULL;
END $body$$function$,
        called, business, replace(name, '_', '-'),
        CASE WHEN deletable THEN $$CASE WHEN r.deleted_at IS NOT DISTINCT FROM b.deleted_at THEN 'updated' WHEN r.deleted_at IS NULL THEN 'restored' ELSE 'deleted' END$$ ELSE $$'updated'::text$$ END,
        differences);
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %I() FROM PUBLIC', called);
    EXECUTE format('CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON %s REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION %I()',
        audited, called);
END $enable$;

SELECT rapport_enable_audit('businesses', 'id');
SELECT rapport_enable_audit('users', 'nowhere');
SELECT rapport_enable_audit('memberships');
SELECT rapport_enable_audit('api_keys');
SELECT rapport_enable_audit('invitations');
SELECT rapport_enable_audit('companies');
SELECT rapport_enable_audit('contacts');
SELECT rapport_enable_audit('campaigns');
SELECT rapport_enable_audit('leads');
SELECT rapport_enable_audit('conversations');
SELECT rapport_enable_audit('messages');
SELECT rapport_enable_audit('services');
SELECT rapport_enable_audit('staff');
SELECT rapport_enable_audit('bookings');
SELECT rapport_enable_audit('tasks');
SELECT rapport_enable_audit('notes');
SELECT rapport_enable_audit('decisions');
SELECT rapport_enable_audit('merges');
SELECT rapport_enable_audit('webhooks');
SELECT rapport_enable_audit('jobs', 'business_id', 'INSERT UPDATE');
SELECT rapport_enable_audit('imports', 'business_id', 'INSERT UPDATE');
SELECT rapport_enable_audit('sessions', 'business_id', 'INSERT DELETE');

CREATE FUNCTION rapport_sequence_events(most integer, names jsonb) RETURNS integer LANGUAGE plpgsql
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET lock_timeout = '50ms' AS $$
DECLARE
    ordered uuid[];
    businesses uuid[];
    held uuid[] := '{}';
    busy uuid[] := '{}';
    seen integer;
    waited integer := 0;
    one uuid;
    had boolean;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('rapport events', 0)) THEN
        RETURN 0;
    END IF;
    LOOP
        seen := cardinality(busy);
        FOR one IN
            SELECT DISTINCT q.business_id
            FROM (SELECT business_id FROM event_outbox WHERE business_id <> ALL (busy) ORDER BY place LIMIT most) q
            WHERE q.business_id <> ALL (held) AND EXISTS (SELECT FROM webhooks w WHERE w.business_id = q.business_id)
        LOOP
            had := cardinality(held) < 500 AND pg_try_advisory_xact_lock(rapport_webhook_lock(one));
            IF NOT had AND cardinality(held) < 500 AND waited < 2 THEN
                BEGIN
                    PERFORM pg_advisory_xact_lock(rapport_webhook_lock(one));
                    had := true;
                EXCEPTION WHEN lock_not_available THEN
                    waited := waited + 1;
                END;
            END IF;
            IF had THEN
                held := held || one;
            ELSE
                busy := busy || one;
            END IF;
        END LOOP;
        EXIT WHEN cardinality(busy) = seen;
    END LOOP;
    WITH taken AS MATERIALIZED (
        DELETE FROM event_outbox WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM event_outbox WHERE business_id <> ALL (busy) ORDER BY place LIMIT most))
        RETURNING place, business_id, id
    ), logged AS MATERIALIZED (
        SELECT t.place, t.business_id, t.id, a.resource, a.action, a.row_id, a.created_at
        FROM taken t CROSS JOIN LATERAL (
            SELECT * FROM audit_log a WHERE a.business_id = t.business_id AND a.id = t.id OFFSET 0) a
    ), heads AS MATERIALIZED (
        SELECT b.business_id, coalesce((SELECT max(sequence) FROM events e WHERE e.business_id = b.business_id), 0) AS last
        FROM (SELECT DISTINCT business_id FROM logged) b
    ), written AS (
        INSERT INTO events (business_id, id, sequence, resource, action, row_id, created_at)
        SELECT t.business_id, t.id, h.last + row_number() OVER (PARTITION BY t.business_id ORDER BY t.place),
            t.resource, t.action, t.row_id, t.created_at
        FROM logged t JOIN heads h ON h.business_id = t.business_id
        RETURNING business_id, id
    )
    SELECT array_agg(id), array_agg(business_id) INTO ordered, businesses FROM written;
    IF EXISTS (SELECT FROM webhooks w WHERE w.business_id = ANY (businesses)) THEN
        FOR one IN SELECT DISTINCT w.business_id FROM webhooks w WHERE w.business_id = ANY (businesses) AND w.business_id <> ALL (held) LOOP
            PERFORM pg_advisory_xact_lock(rapport_webhook_lock(one));
        END LOOP;
        INSERT INTO webhook_deliveries (business_id, webhook_id, event_id, sequence, event_type, row_id, status)
        SELECT e.business_id, w.id, e.id, e.sequence, e.name || '.' || e.action, e.row_id,
            CASE WHEN row_number() OVER (PARTITION BY e.business_id, w.id, e.row_id ORDER BY e.sequence) > 1 OR EXISTS (
                SELECT FROM webhook_deliveries o WHERE o.business_id = e.business_id AND o.webhook_id = w.id
                  AND o.row_id = e.row_id AND o.status IN ('waiting', 'pending')) THEN 'waiting' ELSE 'pending' END
        FROM (SELECT e.*, names ->> e.resource AS name FROM unnest(businesses, ordered) AS o (business_id, id)
              CROSS JOIN LATERAL (SELECT * FROM events e WHERE e.business_id = o.business_id AND e.id = o.id OFFSET 0) e) e
        JOIN webhooks w ON w.business_id = e.business_id AND rapport_webhook_wants(w.types, e.name, e.action)
        WHERE e.name IS NOT NULL
        ORDER BY e.business_id, e.sequence;
    END IF;
    RETURN coalesce(cardinality(ordered), 0);
END $$;
REVOKE EXECUTE ON FUNCTION rapport_sequence_events(integer, jsonb) FROM PUBLIC;
