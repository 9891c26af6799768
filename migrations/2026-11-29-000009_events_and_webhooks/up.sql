-- The event log (docs/EVENTS.md): the entries of the audit log in an order that readers can follow without missing any.
--
-- The transaction of a change puts it into a queue. Once it is committed, the sequencer takes it from the queue and gives it
-- the next number of its business. Only one sequencer works at a time, and what it has numbered becomes visible at once; so a
-- reader that has seen a number never finds a smaller one that was not there.

-- Changes without a number. The place is drawn from a sequence while the row that changed is locked, so of two successive
-- changes of a row the later one has the greater place, independent of clocks.
CREATE SEQUENCE event_outbox_place_seq CACHE 1 NO CYCLE;
CREATE TABLE event_outbox (
    place bigint PRIMARY KEY DEFAULT nextval('event_outbox_place_seq'),
    business_id uuid NOT NULL,
    -- of the entry of the audit log
    id uuid NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_analyze_threshold = 1000000000);

-- The numbered events. They hold no values: those stay in the audit log alone, so that what is erased there is erased here.
CREATE TABLE events (
    -- no foreign key: the deletion of the business is an event as well
    business_id uuid NOT NULL,
    -- that of the entry of the audit log
    id uuid NOT NULL,
    -- 1, 2, 3 … in each business; the newest is always kept, because the next number follows from it
    sequence bigint NOT NULL,
    resource text NOT NULL,
    action text NOT NULL,
    row_id uuid NOT NULL,
    -- when the change was made
    created_at timestamptz NOT NULL,
    PRIMARY KEY (business_id, id),
    CONSTRAINT events_sequence_key UNIQUE (business_id, sequence)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);

-- Deletes up to `most` events that are older than `before`: of each business from its first up to the first that is not, and
-- never its newest. Returns how many; 0: there are no more. It does many businesses at once, because to find them it looks at
-- all.
CREATE FUNCTION rapport_purge_events(before timestamptz, most integer) RETURNS integer LANGUAGE plpgsql
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE
    here uuid;
    gone integer;
    forgotten integer := 0;
BEGIN
    FOR here IN
        WITH RECURSIVE all_businesses AS (
            (SELECT business_id AS id FROM events ORDER BY business_id LIMIT 1)
            UNION ALL
            SELECT (SELECT e.business_id FROM events e WHERE e.business_id > b.id ORDER BY e.business_id LIMIT 1)
            FROM all_businesses b WHERE b.id IS NOT NULL
        )
        SELECT b.id FROM all_businesses b CROSS JOIN LATERAL (
            SELECT e.created_at FROM events e WHERE e.business_id = b.id ORDER BY e.sequence LIMIT 1) oldest
        WHERE oldest.created_at < before
          AND (SELECT min(sequence) < max(sequence) FROM events e WHERE e.business_id = b.id)
    LOOP
        EXIT WHEN forgotten >= most;
        DELETE FROM events e WHERE e.business_id = here AND e.sequence < (
            SELECT coalesce(min(sequence) FILTER (WHERE created_at >= before OR sequence = newest), max(sequence) + 1)
            FROM (SELECT f.sequence, f.created_at FROM events f WHERE f.business_id = here ORDER BY f.sequence LIMIT most - forgotten) first,
                 (SELECT max(g.sequence) AS newest FROM events g WHERE g.business_id = here) newest);
        GET DIAGNOSTICS gone = ROW_COUNT;
        forgotten := forgotten + gone;
    END LOOP;
    RETURN forgotten;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_purge_events(timestamptz, integer) FROM PUBLIC;

-- Webhooks, the deliveries of events to them, and the sequencer that makes both events and deliveries.

CREATE TABLE webhooks (
    business_id uuid NOT NULL CONSTRAINT webhooks_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    url text NOT NULL,
    description text,
    -- types of events: `lead.updated`, `lead.*`, `*.deleted`, `*`
    types text[] NOT NULL,
    status text NOT NULL DEFAULT 'active' CONSTRAINT webhooks_status_check CHECK (status IN ('active', 'paused')),
    -- why the service paused it
    paused_because text,
    -- since when every attempt has failed
    failing_since timestamptz,
    -- kept in the clear because they sign; shown once, and left out of the audit log (see rapport_audit_trigger)
    secret text NOT NULL DEFAULT '',
    previous_secret text,
    previous_until timestamptz,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id)
);
CREATE INDEX webhooks_created_at_idx ON webhooks (business_id, created_at, id);
SELECT rapport_track_versions('webhooks');
SELECT rapport_enable_audit('webhooks');

-- What is sent where. The content is joined from the audit log when it is sent, so that erased data is not sent.
CREATE TABLE webhook_deliveries (
    business_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    -- no foreign key: deleting a webhook must not wait for its millions of deliveries, which are purged later
    webhook_id uuid NOT NULL,
    event_id uuid NOT NULL,
    -- that of the event; 0: a ping, which has none
    sequence bigint NOT NULL,
    event_type text NOT NULL,
    row_id uuid NOT NULL,
    -- waiting: behind an earlier one of the same row; pending: to be sent at next_attempt_at, or being sent until then
    status text NOT NULL CONSTRAINT webhook_deliveries_status_check CHECK (status IN ('waiting', 'pending', 'delivered', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    -- {"1": {"at": …, "status": 500, "latency_ms": 12, "answer": "…"}, "2": {"at": …, "error": "…"}}
    log jsonb NOT NULL DEFAULT '{}',
    delivered_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- increases with each claim: the result of an earlier claim is ignored
    claim bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (business_id, id),
    CONSTRAINT webhook_deliveries_event_id_key UNIQUE (business_id, webhook_id, event_id)
) WITH (fillfactor = 80);
-- the list
CREATE INDEX webhook_deliveries_created_at_idx ON webhook_deliveries (business_id, webhook_id, created_at, id);
-- the next to send
CREATE INDEX webhook_deliveries_next_attempt_at_idx ON webhook_deliveries (business_id, webhook_id, next_attempt_at) WHERE status = 'pending';
-- a paused webhook gets pings only, which must be found among all that is pending
CREATE INDEX webhook_deliveries_pings_idx ON webhook_deliveries (business_id, webhook_id, next_attempt_at) WHERE status = 'pending' AND sequence = 0;
-- the open ones of a row, in order
CREATE INDEX webhook_deliveries_open_idx ON webhook_deliveries (business_id, webhook_id, row_id, sequence) WHERE status IN ('waiting', 'pending');
-- all of a row, for erasure
CREATE INDEX webhook_deliveries_row_id_idx ON webhook_deliveries (business_id, row_id);

-- At most one delivery of each row to a webhook is pending; the next one becomes pending when that is delivered or dead.
-- Transactions that add, purge or erase deliveries hold this lock exclusively, transactions that finish one share it, and all
-- read deliveries only after they have it, so none misses a change of another. It is taken before any row of these tables is
-- locked. Each business has its own, so that none blocks another.
CREATE FUNCTION rapport_webhook_lock(business uuid) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtextextended('rapport webhooks ' || business::text, 0)
$$;

-- Whether a webhook of these `types` wants `lead.updated`. The service validates types when it writes them (Kinds::named).
CREATE FUNCTION rapport_webhook_wants(types text[], name text, action text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT types && ARRAY['*', name || '.*', '*.' || action, name || '.' || action]
$$;

-- Makes the first waiting delivery pending, for each of these rows without a pending one. The lock must be held.
CREATE FUNCTION rapport_webhook_next(business uuid, webhook uuid, of_rows uuid[]) RETURNS void LANGUAGE sql
SET search_path = public, pg_temp AS $$
    UPDATE webhook_deliveries d SET status = 'pending', next_attempt_at = now()
    FROM (SELECT DISTINCT row_id FROM unnest(of_rows) AS r (row_id)) r CROSS JOIN LATERAL (
        SELECT o.id, o.status FROM webhook_deliveries o
        WHERE o.business_id = business AND o.webhook_id = webhook AND o.row_id = r.row_id AND o.status IN ('waiting', 'pending')
        ORDER BY o.status, o.sequence LIMIT 1) first
    -- `pending` comes before `waiting`
    WHERE d.business_id = business AND d.id = first.id AND first.status = 'waiting'
$$;

-- The sequencer. Gives up to `most` queued changes their numbers, makes their deliveries to webhooks that want them, and
-- returns how many it numbered; 0, while another one works. `names` are the resources that are sent, by their plural: {"leads":
-- "lead"}.
--
-- Each statement has a snapshot of its own, so the queue is read as of when the lock was taken. Nothing else removes from the
-- queue, so rows found there can be deleted by their ctid. (The queue is long or empty, and the planner knows neither: it
-- must walk the index.)
--
-- It skips a business whose lock it cannot get within a moment (lock_timeout): its changes stay queued, in their order, for
-- the next time. After two such waits it tries only locks that are free. It takes at most 500 locks at once, because the
-- table of locks is finite.
CREATE FUNCTION rapport_sequence_events(most integer, names jsonb) RETURNS integer LANGUAGE plpgsql
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET lock_timeout = '50ms' AS $$
DECLARE
    ordered uuid[];
    businesses uuid[];
    -- businesses whose locks are held, and those whose locks could not be taken
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
        -- OFFSET 0: one look-up for each, independent of the estimated number
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
        -- businesses whose first webhook was committed since the loop above
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

-- Deletes up to `most` deliveries: those older than `before`, and all of deleted webhooks. Returns how many; 0: there are no
-- more. It does many webhooks at once, because to find them it looks at all. It may wait for the lock of the first business,
-- and skips others whose lock is not free, because it holds its locks until the end.
CREATE FUNCTION rapport_purge_deliveries(before timestamptz, most integer) RETURNS integer LANGUAGE plpgsql
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE
    theirs record;
    of_rows uuid[];
    forgotten integer := 0;
    locked uuid[] := '{}';
BEGIN
    FOR theirs IN
        WITH RECURSIVE known AS (
            (SELECT business_id, webhook_id FROM webhook_deliveries ORDER BY business_id, webhook_id LIMIT 1)
            UNION ALL
            SELECT next.business_id, next.webhook_id FROM known k CROSS JOIN LATERAL (
                SELECT d.business_id, d.webhook_id FROM webhook_deliveries d
                WHERE (d.business_id, d.webhook_id) > (k.business_id, k.webhook_id)
                ORDER BY d.business_id, d.webhook_id LIMIT 1) next
        )
        SELECT k.business_id, k.webhook_id, w.id IS NULL AS gone
        FROM known k LEFT JOIN webhooks w ON w.business_id = k.business_id AND w.id = k.webhook_id
        WHERE w.id IS NULL OR (SELECT min(d.created_at) FROM webhook_deliveries d
                               WHERE d.business_id = k.business_id AND d.webhook_id = k.webhook_id) < before
    LOOP
        -- the table of locks is finite
        EXIT WHEN forgotten >= most OR cardinality(locked) >= 500;
        IF locked = '{}' THEN
            PERFORM pg_advisory_xact_lock(rapport_webhook_lock(theirs.business_id));
            locked := ARRAY[theirs.business_id];
        ELSIF theirs.business_id <> ALL (locked) THEN
            CONTINUE WHEN NOT pg_try_advisory_xact_lock(rapport_webhook_lock(theirs.business_id));
            locked := locked || theirs.business_id;
        END IF;
        WITH deleted AS (
            DELETE FROM webhook_deliveries d WHERE d.business_id = theirs.business_id AND d.id IN (
                SELECT o.id FROM webhook_deliveries o
                WHERE o.business_id = theirs.business_id AND o.webhook_id = theirs.webhook_id AND (theirs.gone OR o.created_at < before)
                ORDER BY o.created_at, o.id LIMIT most - forgotten)
            RETURNING row_id
        )
        SELECT forgotten + count(*), array_agg(row_id) INTO forgotten, of_rows FROM deleted;
        -- the deliveries that waited behind the deleted ones
        PERFORM rapport_webhook_next(theirs.business_id, theirs.webhook_id, of_rows);
    END LOOP;
    RETURN forgotten;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_purge_deliveries(timestamptz, integer) FROM PUBLIC;
