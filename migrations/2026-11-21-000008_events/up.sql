-- The event log (docs/EVENTS.md): what the audit log tells, in an order that readers can follow without missing anything.
--
-- A change is told in its own transaction, and put into a queue there. Once it is committed, whoever orders events takes it
-- from the queue and gives it the next number of its business. Only one orders at a time, and what it has ordered becomes
-- visible at once; so whoever has seen a number will never find a smaller one that was not there.

-- What waits for its number. The place is drawn from a sequence while the row that changed is locked, so of two changes of a
-- row, one after the other, the later has the greater place, whatever the clocks say.
CREATE SEQUENCE event_places CACHE 1 NO CYCLE;
CREATE TABLE event_queue (
    place bigint PRIMARY KEY DEFAULT nextval('event_places'),
    business_id uuid NOT NULL,
    -- of the entry of the audit log
    id uuid NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_analyze_threshold = 1000000000);

-- What was ordered. No values: these are the audit log's alone, so that what is erased there is gone here.
CREATE TABLE events (
    -- no foreign key: it tells of the business' end as well
    business_id uuid NOT NULL,
    -- that of the entry of the audit log
    id uuid NOT NULL,
    -- 1, 2, 3 … in each business; the newest is always kept, because the next number follows from it
    sequence bigint NOT NULL,
    noun text NOT NULL,
    action text NOT NULL,
    row_id uuid NOT NULL,
    -- when it was done
    created_at timestamptz NOT NULL,
    PRIMARY KEY (business_id, id),
    CONSTRAINT events_sequence_key UNIQUE (business_id, sequence)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
SELECT rapport_wall('events', 'SELECT');

-- As in 4_audit; and what it tells waits for its number, except who signs in and out.
CREATE OR REPLACE FUNCTION rapport_audited() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_nestloop = off SET jit = off AS $$
DECLARE
    noun constant text := replace(TG_TABLE_NAME, '_', '-');
    tenant constant text := coalesce(TG_ARGV[0], 'business_id');
    here constant uuid := rapport_business();
    -- who acts, as the service says it: kind and id
    actor constant text[] := string_to_array(nullif(current_setting('rapport.actor', true), ''), ' ');
    kind constant text := coalesce(actor[1], 'system');
    request constant text := nullif(nullif(current_setting('rapport.request', true), ''), '-');
    -- what the database derives, and secrets
    untold constant text[] := ARRAY['version', 'created_at', 'updated_at', 'search', 'sort_name', 'hash', 'previous_hash',
        'secret', 'previous_secret', 'last_used_at', 'last_message_at', 'unread_count', 'window_expires_at', 'deleted_at'];
BEGIN
    IF (current_setting('rapport.erasing', true), TG_OP) IN (('anonymise', 'UPDATE'), ('delete', 'DELETE')) THEN
        -- A person is forgotten: that, and not what was known of them. (Rows of others, whose links to what is deleted are
        -- emptied, are told of as ever.)
        WITH told AS (
            INSERT INTO audit_log (business_id, noun, row_id, action, actor_kind, actor_id, request_id)
            SELECT coalesce((row_was ->> tenant)::uuid, here), noun, (row_was ->> 'id')::uuid, 'erased', kind, actor[2]::uuid, request
            FROM (SELECT to_jsonb(b) AS row_was FROM before b) b
            RETURNING business_id, id)
        INSERT INTO event_queue (business_id, id) SELECT business_id, id FROM told WHERE noun <> 'sessions';
    ELSIF TG_OP = 'UPDATE' THEN
        WITH told AS (
            INSERT INTO audit_log (business_id, noun, row_id, action, actor_kind, actor_id, request_id, changes)
            SELECT coalesce((row_is ->> tenant)::uuid, here), noun, (row_is ->> 'id')::uuid,
                CASE WHEN (row_was ->> 'deleted_at') IS NOT DISTINCT FROM (row_is ->> 'deleted_at') THEN 'updated'
                     WHEN (row_is ->> 'deleted_at') IS NULL THEN 'restored' ELSE 'deleted' END,
                kind, actor[2]::uuid, request, coalesce(changed, '{}')
            FROM (SELECT to_jsonb(a) AS row_is, to_jsonb(b) AS row_was FROM after a JOIN before b ON a.id = b.id) changing,
            LATERAL (SELECT jsonb_object_agg(key, jsonb_build_object('old', row_was -> key, 'new', value)) AS changed
                     FROM jsonb_each(row_is) WHERE value IS DISTINCT FROM row_was -> key AND key <> ALL (untold)) c
            WHERE coalesce((row_is ->> tenant)::uuid, here) IS NOT NULL
              AND (changed IS NOT NULL OR (row_was ->> 'deleted_at') IS DISTINCT FROM (row_is ->> 'deleted_at'))
            RETURNING business_id, id)
        INSERT INTO event_queue (business_id, id) SELECT business_id, id FROM told WHERE noun <> 'sessions';
    ELSIF TG_OP = 'INSERT' THEN
        WITH told AS (
            INSERT INTO audit_log (business_id, noun, row_id, action, actor_kind, actor_id, request_id)
            SELECT coalesce((row_is ->> tenant)::uuid, here), noun, (row_is ->> 'id')::uuid, 'created',
                -- whoever signs in acts themselves
                CASE WHEN noun = 'sessions' AND actor IS NULL THEN 'user' ELSE kind END,
                CASE WHEN noun = 'sessions' AND actor IS NULL THEN (row_is ->> 'user_id')::uuid ELSE actor[2]::uuid END, request
            FROM (SELECT to_jsonb(a) AS row_is FROM after a) a
            WHERE coalesce((row_is ->> tenant)::uuid, here) IS NOT NULL
            RETURNING business_id, id)
        INSERT INTO event_queue (business_id, id) SELECT business_id, id FROM told WHERE noun <> 'sessions';
    ELSE
        WITH told AS (
            INSERT INTO audit_log (business_id, noun, row_id, action, actor_kind, actor_id, request_id, changes)
            SELECT coalesce((row_was ->> tenant)::uuid, here), noun, (row_was ->> 'id')::uuid, 'deleted', kind, actor[2]::uuid, request,
                -- of a session no address: it is nobody's business any more
                coalesce((SELECT jsonb_object_agg(key, jsonb_build_object('old', value)) FROM jsonb_each(row_was)
                          WHERE value <> 'null' AND key <> ALL (untold) AND noun <> 'sessions'), '{}')
            FROM (SELECT to_jsonb(b) AS row_was FROM before b) b
            WHERE coalesce((row_was ->> tenant)::uuid, here) IS NOT NULL
            RETURNING business_id, id)
        INSERT INTO event_queue (business_id, id) SELECT business_id, id FROM told WHERE noun <> 'sessions';
    END IF;
    RETURN NULL;
END $$;

-- Gives up to `most` waiting changes their numbers, and says how many it gave; none, while somebody else does. Each
-- statement here has a snapshot of its own, so what is taken from the queue is as of when the lock was had. Nobody else
-- removes from the queue, so what is found there can be removed by where it lies.
-- (The queue is long or empty, and the planner knows neither: it must walk the index.)
CREATE FUNCTION rapport_order_events(most integer) RETURNS integer LANGUAGE plpgsql
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    ordered integer;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('rapport events', 0)) THEN
        RETURN 0;
    END IF;
    WITH taken AS MATERIALIZED (
        DELETE FROM event_queue WHERE ctid = ANY (ARRAY(SELECT ctid FROM event_queue ORDER BY place LIMIT most))
        RETURNING place, business_id, id
    ), told AS MATERIALIZED (
        -- one by one, whatever the planner believes of their number
        SELECT t.place, t.business_id, t.id, a.noun, a.action, a.row_id, a.created_at
        FROM taken t CROSS JOIN LATERAL (
            SELECT * FROM audit_log a WHERE a.business_id = t.business_id AND a.id = t.id OFFSET 0) a
    ), heads AS MATERIALIZED (
        SELECT b.business_id, coalesce((SELECT max(sequence) FROM events e WHERE e.business_id = b.business_id), 0) AS last
        FROM (SELECT DISTINCT business_id FROM told) b
    )
    INSERT INTO events (business_id, id, sequence, noun, action, row_id, created_at)
    SELECT t.business_id, t.id, h.last + row_number() OVER (PARTITION BY t.business_id ORDER BY t.place),
        t.noun, t.action, t.row_id, t.created_at
    FROM told t JOIN heads h ON h.business_id = t.business_id;
    GET DIAGNOSTICS ordered = ROW_COUNT;
    RETURN ordered;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_order_events(integer) FROM PUBLIC;

-- Forgets up to `most` events of one business that are older than `before`: from its first up to the first that is not, and
-- never its newest. Says how many; 0: there are no more, of whatever business.
CREATE FUNCTION rapport_trim_events(before timestamptz, most integer) RETURNS integer LANGUAGE plpgsql
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE
    here uuid;
    forgotten integer;
BEGIN
    WITH RECURSIVE all_businesses AS (
        (SELECT business_id AS id FROM events ORDER BY business_id LIMIT 1)
        UNION ALL
        SELECT (SELECT e.business_id FROM events e WHERE e.business_id > b.id ORDER BY e.business_id LIMIT 1)
        FROM all_businesses b WHERE b.id IS NOT NULL
    )
    SELECT b.id INTO here FROM all_businesses b CROSS JOIN LATERAL (
        SELECT e.created_at FROM events e WHERE e.business_id = b.id ORDER BY e.sequence LIMIT 1) oldest
    WHERE oldest.created_at < before
      AND (SELECT min(sequence) < max(sequence) FROM events e WHERE e.business_id = b.id)
    LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    DELETE FROM events e WHERE e.business_id = here AND e.sequence < (
        SELECT coalesce(min(sequence) FILTER (WHERE created_at >= before OR sequence = newest), max(sequence) + 1)
        FROM (SELECT f.sequence, f.created_at FROM events f WHERE f.business_id = here ORDER BY f.sequence LIMIT most) first,
             (SELECT max(g.sequence) AS newest FROM events g WHERE g.business_id = here) newest);
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    RETURN forgotten;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_trim_events(timestamptz, integer) FROM PUBLIC;
