-- Webhooks: where events are sent to, and what became of each.

CREATE TABLE webhooks (
    business_id uuid NOT NULL CONSTRAINT webhooks_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    url text NOT NULL,
    description text,
    -- of events: `lead.updated`, `lead.*`, `*.deleted`, `*`
    types text[] NOT NULL,
    status text NOT NULL DEFAULT 'active' CONSTRAINT webhooks_status_check CHECK (status IN ('active', 'paused')),
    -- by the service itself, and why
    paused_because text,
    -- since when nothing has arrived
    failing_since timestamptz,
    -- they sign, so they must be known; shown once, and told nowhere (see rapport_audited)
    secret text NOT NULL DEFAULT '',
    previous_secret text,
    previous_until timestamptz,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id)
);
CREATE INDEX webhooks_created_at_idx ON webhooks (business_id, created_at, id);
SELECT rapport_cache('webhooks');
SELECT rapport_wall('webhooks');
SELECT rapport_audit('webhooks');

-- What is sent where. Not what: that is joined from the audit log when it is sent, so that what is erased is not sent.
CREATE TABLE webhook_deliveries (
    business_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    -- no foreign key: there may be millions, and to delete a webhook must not wait for them; they are swept
    webhook_id uuid NOT NULL,
    event_id uuid NOT NULL,
    -- 0: of no event, to try the webhook
    sequence bigint NOT NULL,
    event_type text NOT NULL,
    row_id uuid NOT NULL,
    -- waiting: behind an earlier one of the same row; pending: to be sent at next_attempt_at, or under way until then
    status text NOT NULL CONSTRAINT webhook_deliveries_status_check CHECK (status IN ('waiting', 'pending', 'delivered', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    -- {"1": {"at": …, "status": 500, "latency_ms": 12, "answer": "…"}, "2": {"at": …, "error": "…"}}
    log jsonb NOT NULL DEFAULT '{}',
    delivered_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- who took it last: what comes back from who took it before does not count
    claim bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (business_id, id),
    CONSTRAINT webhook_deliveries_event_id_key UNIQUE (business_id, webhook_id, event_id)
) WITH (fillfactor = 80);
-- the list
CREATE INDEX webhook_deliveries_created_at_idx ON webhook_deliveries (business_id, webhook_id, created_at, id);
-- what is to be sent
CREATE INDEX webhook_deliveries_next_attempt_at_idx ON webhook_deliveries (business_id, webhook_id, next_attempt_at) WHERE status = 'pending';
-- and to one that is paused: nothing but pings, which must be found among all that gathers there
CREATE INDEX webhook_deliveries_pings_idx ON webhook_deliveries (business_id, webhook_id, next_attempt_at) WHERE status = 'pending' AND sequence = 0;
-- what of a row is still to come
CREATE INDEX webhook_deliveries_open_idx ON webhook_deliveries (business_id, webhook_id, row_id, sequence) WHERE status IN ('waiting', 'pending');
-- what is known of a row, to be forgotten
CREATE INDEX webhook_deliveries_row_id_idx ON webhook_deliveries (business_id, row_id);
SELECT rapport_wall('webhook_deliveries', 'SELECT, INSERT, UPDATE');

-- Of each row at most one delivery to a webhook is pending; the next becomes so when that is delivered or dead. Whoever adds
-- deliveries, forgets some or takes out what was answered, and whoever ends one, must not miss each other: the ones hold this
-- lock alone, the others share it, and all look only when they have it. It is taken before any row of these tables is locked.
-- Each business has its own, so that none can stop another.
CREATE FUNCTION rapport_webhook_lock(business uuid) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtextextended('rapport webhooks ' || business::text, 0)
$$;

-- Whether a webhook of these `types` wants `lead.updated`. What it may name is checked when it is made (Kinds::named).
CREATE FUNCTION rapport_webhook_wants(types text[], name text, action text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT types && ARRAY['*', name || '.*', '*.' || action, name || '.' || action]
$$;

-- As in 8_events; and what was ordered is to be sent to the webhooks that want it. `names` are the nouns that are sent, by
-- their plural: {"leads": "lead"}.
-- Nobody waits for a business that keeps its lock: after a moment (lock_timeout) its changes stay in the queue, in their
-- order, for the next time. Nor for many such: after two only those whose lock is free. Of businesses with webhooks 500 are
-- ordered at once, because the table of locks is finite.
DROP FUNCTION rapport_order_events(integer);
CREATE FUNCTION rapport_order_events(most integer, names jsonb) RETURNS integer LANGUAGE plpgsql
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET lock_timeout = '50ms' AS $$
DECLARE
    ordered uuid[];
    businesses uuid[];
    -- those of whom the lock was had, and those of whom it was not
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
            FROM (SELECT business_id FROM event_queue WHERE business_id <> ALL (busy) ORDER BY place LIMIT most) q
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
        DELETE FROM event_queue WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM event_queue WHERE business_id <> ALL (busy) ORDER BY place LIMIT most))
        RETURNING place, business_id, id
    ), told AS MATERIALIZED (
        -- one by one, whatever the planner believes of their number
        SELECT t.place, t.business_id, t.id, a.noun, a.action, a.row_id, a.created_at
        FROM taken t CROSS JOIN LATERAL (
            SELECT * FROM audit_log a WHERE a.business_id = t.business_id AND a.id = t.id OFFSET 0) a
    ), heads AS MATERIALIZED (
        SELECT b.business_id, coalesce((SELECT max(sequence) FROM events e WHERE e.business_id = b.business_id), 0) AS last
        FROM (SELECT DISTINCT business_id FROM told) b
    ), written AS (
        INSERT INTO events (business_id, id, sequence, noun, action, row_id, created_at)
        SELECT t.business_id, t.id, h.last + row_number() OVER (PARTITION BY t.business_id ORDER BY t.place),
            t.noun, t.action, t.row_id, t.created_at
        FROM told t JOIN heads h ON h.business_id = t.business_id
        RETURNING business_id, id
    )
    SELECT array_agg(id), array_agg(business_id) INTO ordered, businesses FROM written;
    IF EXISTS (SELECT FROM webhooks w WHERE w.business_id = ANY (businesses)) THEN
        -- whose first webhook was made a moment ago
        FOR one IN SELECT DISTINCT w.business_id FROM webhooks w WHERE w.business_id = ANY (businesses) AND w.business_id <> ALL (held) LOOP
            PERFORM pg_advisory_xact_lock(rapport_webhook_lock(one));
        END LOOP;
        INSERT INTO webhook_deliveries (business_id, webhook_id, event_id, sequence, event_type, row_id, status)
        SELECT e.business_id, w.id, e.id, e.sequence, e.name || '.' || e.action, e.row_id,
            CASE WHEN row_number() OVER (PARTITION BY e.business_id, w.id, e.row_id ORDER BY e.sequence) > 1 OR EXISTS (
                SELECT FROM webhook_deliveries o WHERE o.business_id = e.business_id AND o.webhook_id = w.id
                  AND o.row_id = e.row_id AND o.status IN ('waiting', 'pending')) THEN 'waiting' ELSE 'pending' END
        FROM (SELECT e.*, names ->> e.noun AS name FROM unnest(businesses, ordered) AS o (business_id, id)
              CROSS JOIN LATERAL (SELECT * FROM events e WHERE e.business_id = o.business_id AND e.id = o.id OFFSET 0) e) e
        JOIN webhooks w ON w.business_id = e.business_id AND rapport_webhook_wants(w.types, e.name, e.action)
        WHERE e.name IS NOT NULL
        ORDER BY e.business_id, e.sequence;
    END IF;
    RETURN coalesce(cardinality(ordered), 0);
END $$;
REVOKE EXECUTE ON FUNCTION rapport_order_events(integer, jsonb) FROM PUBLIC;

-- Makes the first of what waits pending, for each of these rows of which nothing is. The lock must be held.
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

-- Forgets up to `most` deliveries: those that are older than `before`, and all of webhooks that are gone. Says how many;
-- 0: there are no more. It looks at all webhooks that have any, so it does many of them at once. It may wait for the lock of
-- the first business, and passes over others whose lock is not free, because it holds what it has until the end.
CREATE FUNCTION rapport_trim_deliveries(before timestamptz, most integer) RETURNS integer LANGUAGE plpgsql
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
        -- what waited behind one that was not sent in all that time
        PERFORM rapport_webhook_next(theirs.business_id, theirs.webhook_id, of_rows);
    END LOOP;
    RETURN forgotten;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_trim_deliveries(timestamptz, integer) FROM PUBLIC;

-- As in 4_audit; and what endpoints answered about these rows. Whoever notes such an answer shares the lock, and keeps nothing
-- of it once the row is told to be erased.
CREATE OR REPLACE FUNCTION rapport_erase_audit(forgotten uuid[]) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE audit_log SET changes = '{}' WHERE business_id = rapport_business() AND row_id = ANY (forgotten) AND changes <> '{}';
    SELECT pg_advisory_xact_lock(rapport_webhook_lock(rapport_business()));
    UPDATE webhook_deliveries SET log = '{}' WHERE business_id = rapport_business() AND row_id = ANY (forgotten) AND log <> '{}'
$$;
