-- That a webhook began to fail, or got well again, is what the service observes and no change that anybody made: its row tells
-- it, and neither the audit log nor an event does. As the function is by now, whichever migration wrote it last.
DO $$
DECLARE
    known constant text := pg_get_functiondef('rapport_audited()'::regprocedure);
    better constant text := replace(known, '''last_used_at'', ', '''last_used_at'', ''failing_since'', ');
BEGIN
    IF better = known THEN
        RAISE EXCEPTION 'rapport_audited is not what this migration knows';
    END IF;
    EXECUTE better;
END $$;

-- As in 8_events; of many businesses at once, because to find them it looks at all.
CREATE OR REPLACE FUNCTION rapport_trim_events(before timestamptz, most integer) RETURNS integer LANGUAGE plpgsql
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
