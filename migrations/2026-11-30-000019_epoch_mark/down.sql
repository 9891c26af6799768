-- A new epoch: what was removed in the last one has no horizon that says so.
DELETE FROM cache_epoch;
DROP TRIGGER log_emptied ON change_log;
DROP TRIGGER log_epoch ON cache_epoch;
DROP FUNCTION rapport_log_emptied(), rapport_begin_epoch();
ALTER TABLE change_log_horizons ADD COLUMN has_removed boolean NOT NULL DEFAULT false;
ALTER TABLE cache_epoch DROP COLUMN mark;

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
