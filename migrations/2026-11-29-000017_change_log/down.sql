DO $$
DECLARE
    tracked regclass;
    name text;
BEGIN
    FOR tracked, name IN SELECT t.tgrelid::regclass, c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE t.tgname = 'log_change' LOOP
        EXECUTE format('DROP TRIGGER log_change ON %1$s; DROP TRIGGER log_truncate ON %1$s; DROP FUNCTION %2$I()', tracked, 'rapport_log_' || name);
    END LOOP;
END $$;
DROP FUNCTION rapport_trim_change_log(interval, integer), rapport_log_changes(regclass, text), rapport_log_truncate(), rapport_log_all(uuid, text);
DROP FUNCTION rapport_add_horizon(timestamptz), rapport_cache_epoch();
DROP TABLE change_log_horizons, change_log;
DROP SEQUENCE change_log_place_seq;

CREATE SEQUENCE cache_version_values CACHE 1 NO CYCLE;
CREATE SEQUENCE cache_version_slots CACHE 1 NO CYCLE;

CREATE TABLE cache_versions (
    business_id uuid NOT NULL,
    scope text NOT NULL,
    bucket smallint NOT NULL,
    scope_key bigint NOT NULL,
    slot bigint NOT NULL,
    value bigint NOT NULL,
    moved_by bigint NOT NULL,
    PRIMARY KEY (scope_key, slot)
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
COMMENT ON TABLE cache_versions IS 'Moved by triggers only. Rows must never be deleted or set back: stale cache entries would be believed again.';

CREATE FUNCTION rapport_bucket(id uuid) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ SELECT get_byte(uuid_send(id), 15) & 15 $$;

CREATE FUNCTION rapport_scope_key(business uuid, moved text, part integer) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ SELECT ('x' || left(encode(sha256((business::text || ':' || moved || ':' || part::text)::bytea), 'hex'), 16))::bit(64)::bigint $$;

CREATE FUNCTION rapport_bump_version(business uuid, moved text, part integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    this constant bigint := pg_current_xact_id()::text::bigint;
    key constant bigint := rapport_scope_key(business, moved, part);
    free tid;
    mine boolean;
BEGIN
    IF current_setting('transaction_isolation') = 'read committed' THEN
        SELECT ctid, moved_by = this INTO free, mine FROM cache_versions
        WHERE scope_key = key
        LIMIT 1 FOR UPDATE SKIP LOCKED;
        IF mine THEN
            RETURN;
        ELSIF FOUND THEN
            UPDATE cache_versions SET value = greatest(value + 1, nextval('cache_version_values')), moved_by = this
            WHERE ctid = free AND scope_key = key;
            IF FOUND THEN
                RETURN;
            END IF;
        END IF;
    ELSE
        PERFORM FROM cache_versions
        WHERE scope_key = key AND moved_by = this;
        IF FOUND THEN
            RETURN;
        END IF;
        BEGIN
            SELECT ctid INTO free FROM cache_versions WHERE scope_key = key ORDER BY value LIMIT 1 FOR UPDATE SKIP LOCKED;
            UPDATE cache_versions SET value = greatest(value + 1, nextval('cache_version_values')), moved_by = this
            WHERE ctid = free AND scope_key = key;
            IF FOUND THEN
                RETURN;
            END IF;
        EXCEPTION
            WHEN serialization_failure THEN NULL;
        END;
    END IF;
    INSERT INTO cache_versions (business_id, scope, bucket, scope_key, slot, value, moved_by)
    VALUES (business, moved, part, key, nextval('cache_version_slots'), nextval('cache_version_values'), this);
END $$;

CREATE FUNCTION rapport_bump_all_versions(business uuid, moved text) RETURNS void LANGUAGE sql VOLATILE AS
    $$ SELECT rapport_bump_version(business, moved, part) FROM generate_series(-1, 15) part $$;

CREATE FUNCTION rapport_version_trigger() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM rapport_bump_version(business_id, TG_TABLE_NAME, bucket) FROM (
            SELECT business_id, rapport_bucket(id) AS bucket FROM after UNION SELECT business_id, -1 FROM after) parts;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM rapport_bump_version(business_id, TG_TABLE_NAME, bucket) FROM (
            SELECT business_id, rapport_bucket(id) AS bucket FROM before UNION SELECT business_id, -1 FROM before) parts;
    ELSIF TG_OP = 'UPDATE' THEN
        PERFORM rapport_bump_version(business_id, TG_TABLE_NAME, bucket) FROM (
            SELECT business_id, rapport_bucket(id) AS bucket FROM before UNION SELECT business_id, -1 FROM before
            UNION SELECT business_id, rapport_bucket(id) FROM after UNION SELECT business_id, -1 FROM after) parts;
    ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'TRUNCATE % needs READ COMMITTED: a business made meanwhile would not be seen', TG_TABLE_NAME;
    ELSE
        PERFORM rapport_bump_all_versions(business, TG_TABLE_NAME) FROM (
            SELECT id AS business FROM businesses UNION SELECT business_id FROM cache_versions
            UNION SELECT '00000000-0000-0000-0000-000000000000') everyone;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION rapport_version_trigger_business() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    changed uuid[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        changed := ARRAY(SELECT id FROM after);
    ELSIF TG_OP = 'DELETE' THEN
        changed := ARRAY(SELECT id FROM before);
    ELSE
        changed := ARRAY(SELECT id FROM before UNION SELECT id FROM after);
    END IF;
    PERFORM rapport_bump_all_versions(business, moved)
    FROM unnest(changed) business, unnest(ARRAY[TG_TABLE_NAME::text, 'api_keys', 'sessions']) moved;
    RETURN NULL;
END $$;

CREATE FUNCTION rapport_version_trigger_user() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    nobody constant uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM rapport_bump_version(nobody, TG_TABLE_NAME, bucket) FROM (
            SELECT rapport_bucket(id) AS bucket FROM after UNION SELECT -1 FROM after) parts;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM rapport_bump_version(nobody, TG_TABLE_NAME, bucket) FROM (
            SELECT rapport_bucket(id) AS bucket FROM before UNION SELECT -1 FROM before) parts;
    ELSE
        PERFORM rapport_bump_version(nobody, TG_TABLE_NAME, bucket) FROM (
            SELECT rapport_bucket(id) AS bucket FROM before UNION SELECT -1 FROM before
            UNION SELECT rapport_bucket(id) FROM after) parts;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION rapport_track_versions(cached regclass, mover text DEFAULT 'rapport_version_trigger') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    event text;
    seen text;
BEGIN
    FOR event, seen IN VALUES ('INSERT', 'NEW TABLE AS after'), ('DELETE', 'OLD TABLE AS before'),
                              ('UPDATE', 'OLD TABLE AS before NEW TABLE AS after'), ('TRUNCATE', '') LOOP
        EXECUTE format('CREATE TRIGGER cache_%s AFTER %s ON %s %s FOR EACH STATEMENT EXECUTE FUNCTION %I()',
            lower(event), event, cached,
            CASE WHEN seen <> '' THEN 'REFERENCING ' || seen ELSE '' END,
            CASE WHEN event = 'TRUNCATE' THEN 'rapport_version_trigger' ELSE mover END);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER cache_%s', cached, lower(event));
    END LOOP;
END $$;

SELECT rapport_track_versions('businesses', 'rapport_version_trigger_business');
SELECT rapport_track_versions('users', 'rapport_version_trigger_user');
SELECT rapport_track_versions('memberships');
SELECT rapport_track_versions('api_keys');
SELECT rapport_track_versions('sessions');
SELECT rapport_track_versions('invitations');
SELECT rapport_track_versions('companies');
SELECT rapport_track_versions('contacts');
SELECT rapport_track_versions('campaigns');
SELECT rapport_track_versions('leads');
SELECT rapport_track_versions('conversations');
SELECT rapport_track_versions('messages');
SELECT rapport_track_versions('services');
SELECT rapport_track_versions('staff');
SELECT rapport_track_versions('bookings');
SELECT rapport_track_versions('tasks');
SELECT rapport_track_versions('notes');
SELECT rapport_track_versions('decisions');
SELECT rapport_track_versions('merges');
SELECT rapport_track_versions('webhooks');
GRANT SELECT, INSERT, UPDATE ON cache_versions TO rapport_tenant;
GRANT USAGE ON SEQUENCE cache_version_values, cache_version_slots TO rapport_tenant;
