-- The versions that cached answers are validated against (docs/CACHE.md).
--
-- A version belongs to a business and a table (its scope): one to all of the table's rows of that business (bucket -1), and
-- one to each of 16 buckets of them (0 to 15), for answers about a single row. It moves in the transaction that changes the
-- rows, by triggers, so that no way of writing can forget: the API, psql, COPY, cascades, TRUNCATE.
--
-- A version is the sum over its slots. A writer takes any slot that no other transaction holds and sets it to the next
-- value of a sequence, or adds a slot; so writers never wait for each other here, and every commit that becomes visible
-- makes the sum larger: a slot is only ever set to a value drawn while it is locked, which is above all it had before.

-- One value at a time: what a connection had drawn in advance could be below what a slot holds.
CREATE SEQUENCE cache_version_values CACHE 1 NO CYCLE;
CREATE SEQUENCE cache_version_slots CACHE 1 NO CYCLE;

CREATE TABLE cache_versions (
    -- no foreign key: a version outlives its business, or one made again under the same id would begin at old versions
    business_id uuid NOT NULL,
    scope text NOT NULL,
    bucket smallint NOT NULL,
    -- these three in one number, see rapport_place
    place bigint NOT NULL,
    slot bigint NOT NULL,
    value bigint NOT NULL,
    -- the transaction that set it
    moved_by bigint NOT NULL,
    PRIMARY KEY (place, slot)
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
COMMENT ON TABLE cache_versions IS 'Moved by triggers only. Rows must never be deleted or set back: answers that are wrong by now would be believed again.';

-- Emptied by crash recovery, and empty on a standby that was promoted: then sequences may have lost their last values,
-- and what was cached before must not be believed.
CREATE UNLOGGED TABLE cache_incarnation (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id uuid NOT NULL
);

-- What was asked most, to be asked once when a process starts. Nothing that someone typed of a person.
CREATE TABLE cache_questions (
    business_id uuid NOT NULL,
    role text NOT NULL,
    noun text NOT NULL,
    -- `one id?query` or `list ?query`
    typed text NOT NULL,
    PRIMARY KEY (business_id, role, noun, typed)
);

-- Which of a table's 16 versions a row belongs to. `cache::bucket` in the service says the same.
CREATE FUNCTION rapport_bucket(id uuid) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ SELECT get_byte(uuid_send(id), 15) & 15 $$;

-- By which a version is found: one number is found three times as fast as the three columns that it stands for. Two that
-- share a place by chance share a version, which costs a needless miss and nothing else. `cache::Scope` says the same.
CREATE FUNCTION rapport_place(business uuid, moved text, part integer) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ SELECT ('x' || left(encode(sha256((business::text || ':' || moved || ':' || part::text)::bytea), 'hex'), 16))::bit(64)::bigint $$;

-- Moves one version; as a rule once in a transaction, because it becomes visible as a whole.
CREATE FUNCTION rapport_move(business uuid, moved text, part integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    this constant bigint := pg_current_xact_id()::text::bigint;
    here constant bigint := rapport_place(business, moved, part);
    free tid;
    mine boolean;
BEGIN
    -- Under a snapshot that spans the transaction, a slot that changed since then cannot be locked (40001): take a new one,
    -- unless there is one of this transaction's own.
    IF current_setting('transaction_isolation') = 'read committed' THEN
        SELECT ctid, moved_by = this INTO free, mine FROM cache_versions
        WHERE place = here
        LIMIT 1 FOR UPDATE SKIP LOCKED;
        IF mine THEN
            RETURN;
        ELSIF FOUND THEN
            -- Above what it was, whatever became of the sequence.
            UPDATE cache_versions SET value = greatest(value + 1, nextval('cache_version_values')), moved_by = this
            WHERE ctid = free AND place = here;
            IF FOUND THEN
                RETURN;
            END IF;
        END IF;
    ELSE
        PERFORM FROM cache_versions
        WHERE place = here AND moved_by = this;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    INSERT INTO cache_versions (business_id, scope, bucket, place, slot, value, moved_by)
    VALUES (business, moved, part, here, nextval('cache_version_slots'), nextval('cache_version_values'), this);
END $$;

-- Moves all versions of a table's rows of one business.
CREATE FUNCTION rapport_move_all(business uuid, moved text) RETURNS void LANGUAGE sql VOLATILE AS
    $$ SELECT rapport_move(business, moved, part) FROM generate_series(-1, 15) part $$;

-- Statement-level triggers, which find the tables of versions whatever the session's search path; `before` and `after` are
-- the rows as they were and as they are. Each moves the buckets of its rows, and the whole.
CREATE FUNCTION rapport_moved() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM rapport_move(business_id, TG_TABLE_NAME, bucket) FROM (
            SELECT business_id, rapport_bucket(id) AS bucket FROM after UNION SELECT business_id, -1 FROM after) parts;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM rapport_move(business_id, TG_TABLE_NAME, bucket) FROM (
            SELECT business_id, rapport_bucket(id) AS bucket FROM before UNION SELECT business_id, -1 FROM before) parts;
    ELSIF TG_OP = 'UPDATE' THEN
        PERFORM rapport_move(business_id, TG_TABLE_NAME, bucket) FROM (
            SELECT business_id, rapport_bucket(id) AS bucket FROM before UNION SELECT business_id, -1 FROM before
            UNION SELECT business_id, rapport_bucket(id) FROM after UNION SELECT business_id, -1 FROM after) parts;
    ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'TRUNCATE % needs READ COMMITTED: a business made meanwhile would not be seen', TG_TABLE_NAME;
    ELSE
        -- TRUNCATE says nothing of the rows; their businesses may be gone with them.
        PERFORM rapport_move_all(business, TG_TABLE_NAME) FROM (
            SELECT id AS business FROM businesses UNION SELECT business_id FROM cache_versions
            UNION SELECT '00000000-0000-0000-0000-000000000000') everyone;
    END IF;
    RETURN NULL;
END $$;

-- The business itself is its own tenant. A change of its settings is a change of what its API keys and sessions say, so
-- that whoever asks about one of them need not ask about the business too.
CREATE FUNCTION rapport_moved_business() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
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
    PERFORM rapport_move_all(business, moved)
    FROM unnest(changed) business, unnest(ARRAY[TG_TABLE_NAME::text, 'api_keys', 'sessions']) moved;
    RETURN NULL;
END $$;

-- A person is one row for all businesses, and so is their version: it belongs to no business (the nil UUID). Moving it for
-- the businesses that they are members of would miss one that they are joining at this moment.
CREATE FUNCTION rapport_moved_user() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    nobody constant uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM rapport_move(nobody, TG_TABLE_NAME, bucket) FROM (
            SELECT rapport_bucket(id) AS bucket FROM after UNION SELECT -1 FROM after) parts;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM rapport_move(nobody, TG_TABLE_NAME, bucket) FROM (
            SELECT rapport_bucket(id) AS bucket FROM before UNION SELECT -1 FROM before) parts;
    ELSE
        PERFORM rapport_move(nobody, TG_TABLE_NAME, bucket) FROM (
            SELECT rapport_bucket(id) AS bucket FROM before UNION SELECT -1 FROM before
            UNION SELECT rapport_bucket(id) FROM after) parts;
    END IF;
    RETURN NULL;
END $$;

-- Gives `cached` its triggers. They fire always, also where `session_replication_role` keeps others from firing, as while
-- a dump is restored. (Logical replication fires no statement-level triggers: a subscriber must not serve.)
CREATE FUNCTION rapport_cache(cached regclass, mover text DEFAULT 'rapport_moved') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    event text;
    seen text;
BEGIN
    FOR event, seen IN VALUES ('INSERT', 'NEW TABLE AS after'), ('DELETE', 'OLD TABLE AS before'),
                              ('UPDATE', 'OLD TABLE AS before NEW TABLE AS after'), ('TRUNCATE', '') LOOP
        EXECUTE format('CREATE TRIGGER cache_%s AFTER %s ON %s %s FOR EACH STATEMENT EXECUTE FUNCTION %I()',
            lower(event), event, cached,
            CASE WHEN seen <> '' THEN 'REFERENCING ' || seen ELSE '' END,
            CASE WHEN event = 'TRUNCATE' THEN 'rapport_moved' ELSE mover END);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER cache_%s', cached, lower(event));
    END LOOP;
END $$;

-- One line for each table that answers are made of.
SELECT rapport_cache('businesses', 'rapport_moved_business');
SELECT rapport_cache('users', 'rapport_moved_user');
SELECT rapport_cache('memberships');
SELECT rapport_cache('api_keys');
SELECT rapport_cache('companies');
SELECT rapport_cache('contacts');
SELECT rapport_cache('campaigns');
SELECT rapport_cache('leads');
SELECT rapport_cache('conversations');
SELECT rapport_cache('messages');
SELECT rapport_cache('services');
SELECT rapport_cache('staff');
SELECT rapport_cache('bookings');
SELECT rapport_cache('tasks');
SELECT rapport_cache('notes');

-- So that every business is known by a version, also when its rows are truncated.
SELECT rapport_move(id, 'businesses', -1) FROM businesses;
