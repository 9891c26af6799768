-- The log of changes, which cached responses and credentials are validated against (docs/CACHE.md). It replaces the versions
-- of rows and tables: a list depends only on the changes that concern it, and writers share nothing.

-- Each changed row, written by a trigger in the transaction of the change, so that no way of writing can bypass it: the API,
-- psql, COPY, cascades, TRUNCATE. Rows are only added, and removed once no process can need them (rapport_trim_change_log).
CREATE SEQUENCE change_log_place_seq CACHE 1 NO CYCLE;
CREATE TABLE change_log (
    -- no foreign key: the deletion of a business is a change, too. Of users the nil UUID, since they belong to none
    business_id uuid NOT NULL,
    -- the transaction, as snapshots name it
    xid xid8 NOT NULL,
    place bigint NOT NULL DEFAULT nextval('change_log_place_seq'),
    -- the table
    changed text NOT NULL,
    -- the row's id, and what the row refers to: before and after. NULL: all rows of the table in this business, or in every
    -- business where it is the nil UUID
    touched uuid[],
    PRIMARY KEY (business_id, xid, place)
) WITH (autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_insert_scale_factor = 1, autovacuum_analyze_threshold = 1000000000,
        -- to shorten the file, vacuum would lock out validation rounds
        vacuum_truncate = off);
-- what became visible since a snapshot
CREATE INDEX change_log_xid_idx ON change_log (xid);
COMMENT ON TABLE change_log IS 'Written by triggers only. A row must never be deleted by hand: stale cache entries would be believed.';

-- Identifies the server's history: its start (older files may have been restored), the log (it may have been recreated or
-- emptied), and the row of `cache_epoch`, which crash recovery and promotion empty; NULL then. Transactions of different
-- epochs cannot be compared.
CREATE FUNCTION rapport_cache_epoch() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT pg_postmaster_start_time()::text || '/' || pg_relation_filenode('public.change_log') || '/' || i.id FROM public.cache_epoch i
$$;

-- Snapshots that were current at a time.
CREATE TABLE change_log_horizons (
    taken_at timestamptz PRIMARY KEY,
    epoch text NOT NULL,
    snapshot pg_snapshot NOT NULL,
    -- whether changes that it saw have been removed from the log
    has_removed boolean NOT NULL DEFAULT false
);

-- Records the current snapshot.
CREATE FUNCTION rapport_add_horizon(at timestamptz DEFAULT clock_timestamp()) RETURNS void LANGUAGE sql VOLATILE SET search_path = public, pg_temp AS $$
    INSERT INTO change_log_horizons (taken_at, epoch, snapshot) SELECT at, epoch, pg_current_snapshot()
    FROM rapport_cache_epoch() AS epoch WHERE epoch IS NOT NULL
$$;
REVOKE EXECUTE ON FUNCTION rapport_add_horizon(timestamptz) FROM PUBLIC;

-- Records that all rows of a table in one business may have changed, or in all businesses (the nil UUID): for migrations that
-- change what is read, and for operators.
CREATE FUNCTION rapport_log_all(business uuid, changed text) RETURNS void LANGUAGE sql VOLATILE SET search_path = public, pg_temp AS $$
    INSERT INTO change_log (business_id, xid, changed) VALUES (business, pg_current_xact_id(), changed)
$$;
REVOKE EXECUTE ON FUNCTION rapport_log_all(uuid, text) FROM PUBLIC;

-- TRUNCATE has no rows, and the businesses may be gone with them.
CREATE FUNCTION rapport_log_truncate() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO change_log (business_id, xid, changed)
    VALUES ('00000000-0000-0000-0000-000000000000', pg_current_xact_id(), TG_TABLE_NAME);
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_log_truncate() FROM PUBLIC;

-- Gives a table its triggers, and the function that they call, which names the columns: a migration that adds a UUID column
-- calls this again. `owner` is what a row's business is, as SQL; `NULL` where it belongs to none.
--
-- They are triggers for each row, because a distributed table can fire those on its shards, and fire always: also where
-- `session_replication_role` keeps others from firing, as while a dump is restored.
CREATE FUNCTION rapport_log_changes(tracked regclass, owner text DEFAULT 'business_id') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name constant text := (SELECT relname FROM pg_class WHERE oid = tracked);
    -- the row's id first, then its links
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

-- Removes up to `most` changes that every process has seen: those that were visible `keep` ago. A time alone would not do: a
-- transaction that was open then may still commit, and its changes have never been visible. So a snapshot is recorded once a
-- minute, and what one that is old enough saw can go. Returns how many were removed.
CREATE FUNCTION rapport_trim_change_log(keep interval, most integer) RETURNS integer LANGUAGE plpgsql
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    -- Read once: the clock may step back.
    at constant timestamptz := clock_timestamp();
    oldest timestamptz;
    horizon pg_snapshot;
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
REVOKE EXECUTE ON FUNCTION rapport_trim_change_log(interval, integer) FROM PUBLIC;

-- The versions, and what moved them. A process of an earlier release must not find versions that nothing moves any more:
-- without them it refuses to answer.
DO $$
DECLARE
    tracked regclass;
BEGIN
    FOR tracked IN SELECT DISTINCT tgrelid::regclass FROM pg_trigger WHERE tgname IN ('cache_insert', 'cache_update', 'cache_delete', 'cache_truncate') LOOP
        EXECUTE format('DROP TRIGGER cache_insert ON %1$s; DROP TRIGGER cache_update ON %1$s; DROP TRIGGER cache_delete ON %1$s; DROP TRIGGER cache_truncate ON %1$s', tracked);
    END LOOP;
END $$;
-- squawk-ignore ban-drop-function
DROP FUNCTION rapport_track_versions(regclass, text), rapport_version_trigger(), rapport_version_trigger_business(),
    rapport_version_trigger_user(), rapport_bump_all_versions(uuid, text), rapport_bump_version(uuid, text, integer),
    rapport_scope_key(uuid, text, integer), rapport_bucket(uuid);
-- squawk-ignore ban-drop-table
DROP TABLE cache_versions;
-- squawk-ignore ban-drop-sequence
DROP SEQUENCE cache_version_values, cache_version_slots;

-- One line for each table that responses or credentials are made of; tables of later migrations have theirs beside them.
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
