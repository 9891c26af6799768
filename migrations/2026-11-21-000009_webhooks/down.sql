-- As in 4_audit and 8_events.
CREATE OR REPLACE FUNCTION rapport_erase_audit(forgotten uuid[]) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE audit_log SET changes = '{}' WHERE business_id = rapport_business() AND row_id = ANY (forgotten) AND changes <> '{}'
$$;
DROP FUNCTION rapport_order_events(integer, jsonb);
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
DROP FUNCTION rapport_trim_deliveries(timestamptz, integer);
DROP FUNCTION rapport_webhook_next(uuid, uuid, uuid[]);
DROP FUNCTION rapport_webhook_wants(text[], text, text);
DROP FUNCTION rapport_webhook_lock(uuid);
DROP TABLE webhook_deliveries, webhooks;
