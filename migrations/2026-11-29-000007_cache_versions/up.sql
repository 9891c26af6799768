-- The versions that cached responses are validated against (docs/CACHE.md).
--
-- A version belongs to a business and a table (its scope). Each scope has one for all rows of the table in that business
-- (bucket -1), and one for each of 16 buckets of them (0 to 15), for responses about a single row. Triggers move it in the
-- transaction that changes the rows, so no way of writing can bypass it: the API, psql, COPY, cascades, TRUNCATE.
--
-- A version is the sum over its slots. A writer locks any slot that no other transaction holds and sets it to the next value
-- of a sequence, or adds a slot. So writers never wait for each other here, and every commit that becomes visible makes the
-- sum larger: a slot is only set to a value drawn while it is locked, which is above all its earlier values.

-- One value at a time: values that a connection draws in advance could be below a slot's value.
CREATE SEQUENCE cache_version_values CACHE 1 NO CYCLE;
CREATE SEQUENCE cache_version_slots CACHE 1 NO CYCLE;

CREATE TABLE cache_versions (
    -- no foreign key: a version outlives its business, or a business made again under the same id would begin at old versions
    business_id uuid NOT NULL,
    scope text NOT NULL,
    bucket smallint NOT NULL,
    -- these three in one number, see rapport_scope_key
    scope_key bigint NOT NULL,
    slot bigint NOT NULL,
    value bigint NOT NULL,
    -- the transaction that set it
    moved_by bigint NOT NULL,
    PRIMARY KEY (scope_key, slot)
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
COMMENT ON TABLE cache_versions IS 'Moved by triggers only. Rows must never be deleted or set back: stale cache entries would be believed again.';

-- The identity of this database's versions. Crash recovery empties the table, and a promoted standby has it empty: sequences
-- may then have lost their last values, and earlier cache entries must not be believed.
CREATE UNLOGGED TABLE cache_epoch (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id uuid NOT NULL
);

-- The most frequent reads, which a process executes once when it starts. They contain no personal data.
CREATE TABLE cache_warmup_queries (
    business_id uuid NOT NULL,
    role text NOT NULL,
    resource text NOT NULL,
    -- `one id?query` or `list ?query`
    typed text NOT NULL,
    PRIMARY KEY (business_id, role, resource, typed)
);

-- Which of a table's 16 buckets a row belongs to. Must equal `cache::bucket` in the service.
CREATE FUNCTION rapport_bucket(id uuid) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ SELECT get_byte(uuid_send(id), 15) & 15 $$;

-- The key of a version: one number is found three times as fast as the three columns that it stands for. Two scopes with the
-- same key by chance share a version, which costs a needless miss and nothing else. Must equal `cache::Scope` in the service.
CREATE FUNCTION rapport_scope_key(business uuid, moved text, part integer) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ SELECT ('x' || left(encode(sha256((business::text || ':' || moved || ':' || part::text)::bytea), 'hex'), 16))::bit(64)::bigint $$;

-- Moves one version, normally once in a transaction, because the transaction becomes visible as a whole.
CREATE FUNCTION rapport_bump_version(business uuid, moved text, part integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    this constant bigint := pg_current_xact_id()::text::bigint;
    key constant bigint := rapport_scope_key(business, moved, part);
    free tid;
    mine boolean;
BEGIN
    -- Under a snapshot that spans the transaction, a slot that changed since then cannot be locked (40001); the one that moved
    -- longest ago is the likeliest to be unchanged. A slot is added only where that one has changed too: otherwise a busy
    -- business would have as many slots as transactions.
    IF current_setting('transaction_isolation') = 'read committed' THEN
        SELECT ctid, moved_by = this INTO free, mine FROM cache_versions
        WHERE scope_key = key
        LIMIT 1 FOR UPDATE SKIP LOCKED;
        IF mine THEN
            RETURN;
        ELSIF FOUND THEN
            -- Above its earlier value, even where the sequence lost its own.
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

-- Moves all versions of a table's rows in one business.
CREATE FUNCTION rapport_bump_all_versions(business uuid, moved text) RETURNS void LANGUAGE sql VOLATILE AS
    $$ SELECT rapport_bump_version(business, moved, part) FROM generate_series(-1, 15) part $$;

-- The function of the statement-level triggers; `before` and `after` are the old and the new rows. It moves the buckets of
-- the rows and the whole. It sets its search path, so that it finds the tables of versions in any session.
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
        -- TRUNCATE has no transition table, and the businesses of the rows may be deleted with them.
        PERFORM rapport_bump_all_versions(business, TG_TABLE_NAME) FROM (
            SELECT id AS business FROM businesses UNION SELECT business_id FROM cache_versions
            UNION SELECT '00000000-0000-0000-0000-000000000000') everyone;
    END IF;
    RETURN NULL;
END $$;

-- The business itself is its own tenant. A change of its settings is also a change of its API keys and sessions, so that the
-- authenticator compares one version and not two.
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

-- A user is one row for all businesses, and its version belongs to none (the nil UUID). Moving it for the businesses of the
-- user's memberships would miss one that the user joins concurrently.
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

-- Gives a table its triggers. They fire always, also where `session_replication_role` keeps others from firing, as while a
-- dump is restored. (Logical replication fires no statement-level triggers: a subscriber must not serve.)
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

-- One line for each table that responses are made of; tables of later migrations have theirs beside them.
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
