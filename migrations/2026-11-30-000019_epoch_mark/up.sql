-- What a validation round reads besides the changes is one row: the epoch, and the mark of the trimming beside it. The round costs
-- the database about three quarters of what it did with a look at the horizons and at the file of the log.

ALTER TABLE cache_epoch
    -- changes that it saw may have been removed from the log; NULL: none was, in this epoch
    ADD COLUMN mark pg_snapshot;
-- A new epoch: what was removed in the last one has no mark here.
DELETE FROM cache_epoch;
-- squawk-ignore ban-drop-column
ALTER TABLE change_log_horizons DROP COLUMN has_removed;

-- An emptied log has lost changes that processes may not have read.
CREATE FUNCTION rapport_log_emptied() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM cache_epoch;
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_log_emptied() FROM PUBLIC;
CREATE TRIGGER log_emptied AFTER TRUNCATE ON change_log FOR EACH STATEMENT EXECUTE FUNCTION rapport_log_emptied();
ALTER TABLE change_log ENABLE ALWAYS TRIGGER log_emptied;

-- Each row begins an epoch of its own: a dump's would be one that has been, or that of another server.
CREATE FUNCTION rapport_begin_epoch() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    NEW.id := gen_random_uuid();
    NEW.mark := NULL;
    RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_begin_epoch() FROM PUBLIC;
CREATE TRIGGER log_epoch BEFORE INSERT ON cache_epoch FOR EACH ROW EXECUTE FUNCTION rapport_begin_epoch();
ALTER TABLE cache_epoch ENABLE ALWAYS TRIGGER log_epoch;

-- As before, but the mark is in cache_epoch. (If no row is visible there, an epoch begins later, whose snapshots see all that was
-- removed.)
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
    -- It saw what earlier ones saw.
    IF removed > 0 THEN
        UPDATE cache_epoch SET mark = horizon WHERE mark::text IS DISTINCT FROM horizon::text;
    END IF;
    DELETE FROM change_log_horizons WHERE taken_at < oldest;
    RETURN removed;
END $$;
