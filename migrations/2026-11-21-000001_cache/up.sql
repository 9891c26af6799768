-- The versions that cached answers are validated against (docs/CACHE.md).
--
-- A version belongs to a business, a table (its scope) and a bucket of that table's rows. It moves in the transaction that
-- changes the rows, by triggers, so that no way of writing can forget: the API, psql, COPY, cascades, TRUNCATE.
--
-- A version is the sum over its slots. A writer takes any slot that no other transaction holds and sets it to the next
-- value of a sequence, or adds a slot; so writers never wait for each other here, and every commit that becomes visible
-- makes the sum larger: a slot is only ever set to a value drawn while it is locked, which is above all it had before.

CREATE SEQUENCE cache_version_values;
CREATE SEQUENCE cache_version_slots;

CREATE TABLE cache_versions (
    -- no foreign key: a version outlives its business, or one made again under the same id would begin at old versions
    business_id uuid NOT NULL,
    scope text NOT NULL,
    bucket smallint NOT NULL,
    slot bigint NOT NULL,
    value bigint NOT NULL,
    PRIMARY KEY (business_id, scope, bucket, slot)
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
COMMENT ON TABLE cache_versions IS 'Moved by triggers only. Rows must never be deleted or set back: answers that are wrong by now would be believed again.';

-- Emptied by crash recovery, and empty on a standby that was promoted: then sequences may have lost their last values,
-- and what was cached before must not be believed.
CREATE UNLOGGED TABLE cache_incarnation (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id uuid NOT NULL
);

-- Which of a table's 16 versions a row belongs to. `cache::bucket` in the service says the same.
CREATE FUNCTION rapport_bucket(id uuid) RETURNS smallint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    $$ SELECT (get_byte(uuid_send(id), 15) & 15)::smallint $$;

-- Moves one version; at most once in a transaction, because it becomes visible as a whole.
CREATE FUNCTION rapport_move(business uuid, moved text, part smallint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    free bigint;
BEGIN
    PERFORM FROM cache_versions
    WHERE business_id = business AND scope = moved AND bucket = part AND xmin = pg_current_xact_id()::xid;
    IF FOUND THEN
        RETURN;
    END IF;
    -- Under a snapshot that spans the transaction, a slot that changed since then cannot be locked (40001): take a new one.
    IF current_setting('transaction_isolation') = 'read committed' THEN
        SELECT slot INTO free FROM cache_versions
        WHERE business_id = business AND scope = moved AND bucket = part
        LIMIT 1 FOR UPDATE SKIP LOCKED;
        IF FOUND THEN
            UPDATE cache_versions SET value = nextval('cache_version_values')
            WHERE business_id = business AND scope = moved AND bucket = part AND slot = free;
            RETURN;
        END IF;
    END IF;
    INSERT INTO cache_versions (business_id, scope, bucket, slot, value)
    VALUES (business, moved, part, nextval('cache_version_slots'), nextval('cache_version_values'));
END $$;

-- Statement-level triggers; `before` and `after` are the rows as they were and as they are.
CREATE FUNCTION rapport_moved() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    part record;
BEGIN
    IF TG_OP = 'INSERT' THEN
        FOR part IN SELECT DISTINCT business_id, rapport_bucket(id) AS bucket FROM after LOOP
            PERFORM rapport_move(part.business_id, TG_TABLE_NAME, part.bucket);
        END LOOP;
    ELSIF TG_OP = 'DELETE' THEN
        FOR part IN SELECT DISTINCT business_id, rapport_bucket(id) AS bucket FROM before LOOP
            PERFORM rapport_move(part.business_id, TG_TABLE_NAME, part.bucket);
        END LOOP;
    ELSIF TG_OP = 'UPDATE' THEN
        FOR part IN SELECT business_id, rapport_bucket(id) AS bucket FROM before
                    UNION SELECT business_id, rapport_bucket(id) FROM after LOOP
            PERFORM rapport_move(part.business_id, TG_TABLE_NAME, part.bucket);
        END LOOP;
    ELSE
        -- TRUNCATE says nothing of the rows; their businesses may be gone with them.
        FOR part IN SELECT b.business_id, n::smallint AS bucket
                    FROM (SELECT id AS business_id FROM businesses UNION SELECT business_id FROM cache_versions
                          UNION SELECT '00000000-0000-0000-0000-000000000000') b,
                         generate_series(0, 15) n LOOP
            PERFORM rapport_move(part.business_id, TG_TABLE_NAME, part.bucket);
        END LOOP;
    END IF;
    RETURN NULL;
END $$;

-- The business itself is its own tenant. A change of its settings is a change of what its API keys say, so that whoever
-- asks about a key need not ask about the business too.
CREATE FUNCTION rapport_moved_business() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    businesses uuid[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        businesses := ARRAY(SELECT id FROM after);
    ELSIF TG_OP = 'DELETE' THEN
        businesses := ARRAY(SELECT id FROM before);
    ELSE
        businesses := ARRAY(SELECT id FROM before UNION SELECT id FROM after);
    END IF;
    PERFORM rapport_move(business, TG_TABLE_NAME, rapport_bucket(business)) FROM unnest(businesses) business;
    PERFORM rapport_move(business, 'api_keys', n::smallint) FROM unnest(businesses) business, generate_series(0, 15) n;
    RETURN NULL;
END $$;

-- A person is one row for all businesses, and so is their version: it belongs to no business (the nil UUID). Moving it for
-- the businesses that they are members of would miss one that they are joining at this moment.
CREATE FUNCTION rapport_moved_user() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    part smallint;
    nobody constant uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    IF TG_OP = 'INSERT' THEN
        FOR part IN SELECT DISTINCT rapport_bucket(id) FROM after LOOP
            PERFORM rapport_move(nobody, TG_TABLE_NAME, part);
        END LOOP;
    ELSIF TG_OP = 'DELETE' THEN
        FOR part IN SELECT DISTINCT rapport_bucket(id) FROM before LOOP
            PERFORM rapport_move(nobody, TG_TABLE_NAME, part);
        END LOOP;
    ELSE
        FOR part IN SELECT rapport_bucket(id) FROM before UNION SELECT rapport_bucket(id) FROM after LOOP
            PERFORM rapport_move(nobody, TG_TABLE_NAME, part);
        END LOOP;
    END IF;
    RETURN NULL;
END $$;

-- Gives `cached` its triggers. They fire always, also while rows are replicated or restored.
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
