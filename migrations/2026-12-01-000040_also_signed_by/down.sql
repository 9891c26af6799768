CREATE OR REPLACE FUNCTION rapport_replay_inbound(numbers text[], since timestamptz, until timestamptz, most integer) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH again AS (
        UPDATE inbound_bodies SET state = 'new', attempts = 0, failures = 0, next_item = 0, due_at = now(), error = NULL
        WHERE id = ANY (ARRAY(
            SELECT id FROM inbound_bodies WHERE number_ids && numbers AND state <> 'new' AND received_at >= since AND received_at < until
                AND (signed_by IS NULL OR signed_by = rapport_business())
            ORDER BY received_at LIMIT most))
        RETURNING id)
    SELECT count(*) FROM again
$$;
ALTER TABLE inbound_bodies DROP COLUMN also_signed_by;
