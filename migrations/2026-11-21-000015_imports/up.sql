-- Imports: files of rows, kept in parts until they are done with, and what became of each of their rows.

CREATE TABLE imports (
    business_id uuid NOT NULL CONSTRAINT imports_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    noun text NOT NULL CONSTRAINT imports_noun_check CHECK (noun IN ('contacts', 'companies', 'leads', 'tasks')),
    format text NOT NULL CONSTRAINT imports_format_check CHECK (format IN ('csv', 'ndjson')),
    file_name text,
    bytes bigint NOT NULL,
    -- lines of the file: about as many as rows
    lines bigint NOT NULL,
    -- of a CSV file: {"separator": ";", "headers": […]}
    layout jsonb NOT NULL,
    -- as it was given, by header; and where each column goes
    mapping jsonb NOT NULL DEFAULT '{}',
    targets jsonb NOT NULL DEFAULT '{}',
    match_by text[] NOT NULL,
    on_match text NOT NULL DEFAULT 'update' CONSTRAINT imports_on_match_check CHECK (on_match IN ('update', 'skip', 'refuse')),
    state text NOT NULL DEFAULT 'ready' CONSTRAINT imports_state_check CHECK (state IN ('ready', 'trying', 'tried', 'importing',
        'imported', 'reverting', 'reverted', 'failed', 'cancelled')),
    read bigint NOT NULL DEFAULT 0,
    created bigint NOT NULL DEFAULT 0,
    changed bigint NOT NULL DEFAULT 0,
    unchanged bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    companies bigint NOT NULL DEFAULT 0,
    reverted bigint NOT NULL DEFAULT 0,
    kept bigint NOT NULL DEFAULT 0,
    -- the job that works on it, or was the last to; and that whose rows `import_rows` are
    job_id uuid,
    job text GENERATED ALWAYS AS ('/api/v1/ops/jobs/' || job_id::text) STORED,
    run_id uuid,
    actor_kind text NOT NULL CONSTRAINT imports_actor_kind_check CHECK (actor_kind IN ('user', 'api_key', 'system')),
    actor_id uuid,
    -- whether the file and the records have had their time
    emptied boolean NOT NULL DEFAULT false,
    executed_at timestamptz,
    finished_at timestamptz,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id)
);
CREATE INDEX imports_created_at_idx ON imports (business_id, created_at, id);
CREATE INDEX imports_actor_id_idx ON imports (business_id, actor_id, created_at, id);
CREATE INDEX imports_emptied_idx ON imports (created_at) WHERE NOT emptied;
-- a job that ends otherwise than well is looked for here
CREATE INDEX imports_job_id_idx ON imports (business_id, job_id);
SELECT rapport_wall('imports');
SELECT rapport_audit('imports', 'business_id', 'INSERT UPDATE');

-- The file, in parts of a mebibyte. They come before their import, which is made when the whole file is there; what nothing was
-- made of is cleared away.
CREATE TABLE import_chunks (
    business_id uuid NOT NULL CONSTRAINT import_chunks_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    import_id uuid NOT NULL,
    number integer NOT NULL,
    data bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id)
);
-- pieces are cut out of it, which a compressed one would have to be unpacked for
ALTER TABLE import_chunks ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX import_chunks_number_key ON import_chunks (business_id, import_id, number);
CREATE INDEX import_chunks_created_at_idx ON import_chunks (created_at);
SELECT rapport_wall('import_chunks');

-- What became of a row of the file. Its id is the first half of its run's (a job's) and the number of the row, so that the key
-- keeps the rows of a run together and in order; the last three bits tell apart what one row did.
CREATE TABLE import_rows (
    business_id uuid NOT NULL CONSTRAINT import_rows_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL,
    -- what it is about; of a trial, a key that a row would have had
    row_id uuid,
    noun text NOT NULL,
    outcome text NOT NULL CONSTRAINT import_rows_outcome_check
        CHECK (outcome IN ('created', 'changed', 'unchanged', 'refused', 'planned')),
    -- the version that it was left with; of a trial, a hash of what the row says
    version bigint,
    -- of a changed row: the fields as they were; of row 0 of a trial: the first changes, as they would be
    before jsonb,
    -- of a refused row: why, and where it is in the file
    faults jsonb,
    place bigint,
    length bigint,
    PRIMARY KEY (business_id, id)
);
CREATE INDEX import_rows_row_id_idx ON import_rows (business_id, row_id) WHERE row_id IS NOT NULL;
SELECT rapport_wall('import_rows');

-- An import whose job failed or was cancelled says so, with all that was done until then.
CREATE FUNCTION rapport_import_ended() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE imports i SET state = NEW.state, finished_at = now(), version = version + 1, updated_at = now(),
        read = coalesce((r.cursor ->> 'read')::bigint, i.read), created = coalesce((r.cursor ->> 'created')::bigint, i.created),
        changed = coalesce((r.cursor ->> 'changed')::bigint, i.changed),
        unchanged = coalesce((r.cursor ->> 'unchanged')::bigint, i.unchanged),
        failed = coalesce((r.cursor ->> 'failed')::bigint, i.failed),
        companies = coalesce((r.cursor ->> 'companies')::bigint, i.companies),
        reverted = coalesce((r.cursor ->> 'reverted')::bigint, i.reverted), kept = coalesce((r.cursor ->> 'kept')::bigint, i.kept)
    FROM job_runs r
    WHERE i.business_id = NEW.business_id AND i.job_id = NEW.id AND i.state IN ('trying', 'importing', 'reverting')
      AND r.business_id = NEW.business_id AND r.id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER import_ended AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (NEW.state IN ('failed', 'cancelled') AND OLD.state IN ('queued', 'running')) EXECUTE FUNCTION rapport_import_ended();

-- Living rows of the transaction's business by what a file knows of them: `place` counts `keys` from 0. Row-level security would
-- keep these look-ups from their indexes (`lower` is not leakproof), so the function looks past it, and at that business only.
-- One index look-up for each key, planned anew with each call: while a first import fills a table, what was a good plan for it
-- a second ago reads all of it. By name, which is not unique, only rows that could be meant: `owns` has an `i` where the file's
-- row has an external id, and a `u` where it has the other unique field, so that a row which has one of its own is another.
CREATE FUNCTION rapport_found(wanted text, field text, keys text[], owns text[] DEFAULT '{}') RETURNS TABLE (place bigint, id uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    one constant text := CASE wanted || '.' || field
        WHEN 'contacts.external_id' THEN
            'SELECT c.id FROM contacts c WHERE c.business_id = $1 AND c.external_id = k.key AND c.deleted_at IS NULL OFFSET 0'
        WHEN 'contacts.email' THEN
            'SELECT c.id FROM contacts c WHERE c.business_id = $1 AND lower(c.email) = lower(k.key) AND c.deleted_at IS NULL OFFSET 0'
        WHEN 'contacts.phone' THEN
            'SELECT c.id FROM contacts c WHERE c.business_id = $1 AND c.phone = k.key AND c.deleted_at IS NULL AND (c.external_id IS NULL OR position(''i'' IN k.own) = 0) AND (c.email IS NULL OR position(''u'' IN k.own) = 0) ORDER BY c.created_at, c.id LIMIT 200'
        -- A range of the index of `sort_name`, which is the names followed by the e-mail address.
        WHEN 'contacts.name' THEN
            'SELECT c.id FROM contacts c WHERE c.business_id = $1 AND c.sort_name COLLATE "C" >= lower(k.key) COLLATE "C" AND c.sort_name COLLATE "C" < (lower(k.key) || chr(1114111)) COLLATE "C" AND c.deleted_at IS NULL AND (c.external_id IS NULL OR position(''i'' IN k.own) = 0) AND (c.email IS NULL OR position(''u'' IN k.own) = 0) ORDER BY c.sort_name COLLATE "C", c.id LIMIT 200'
        WHEN 'companies.external_id' THEN
            'SELECT c.id FROM companies c WHERE c.business_id = $1 AND c.external_id = k.key AND c.deleted_at IS NULL OFFSET 0'
        WHEN 'companies.domain' THEN
            'SELECT c.id FROM companies c WHERE c.business_id = $1 AND lower(c.domain) = lower(k.key) AND c.deleted_at IS NULL OFFSET 0'
        WHEN 'companies.name' THEN
            'SELECT c.id FROM companies c WHERE c.business_id = $1 AND lower(c.name) COLLATE "C" = lower(k.key) COLLATE "C" AND c.deleted_at IS NULL AND (c.external_id IS NULL OR position(''i'' IN k.own) = 0) AND (c.domain IS NULL OR position(''u'' IN k.own) = 0) ORDER BY lower(c.name) COLLATE "C", c.id LIMIT 200'
    END;
BEGIN
    RETURN QUERY EXECUTE 'SELECT k.place - 1, t.id FROM unnest($2, $3) WITH ORDINALITY k (key, own, place), LATERAL (' || one || ') t'
    USING rapport_business(), keys, owns;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_found(text, text, text[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rapport_found(text, text, text[], text[]) TO rapport_tenant;

-- Lets the planner know of tables that have grown to so many rows within a moment, before it is told by the clock.
CREATE FUNCTION rapport_measure(grown text[], counted bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE
    known text;
BEGIN
    FOR known IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
        AND c.relname = ANY (grown) AND c.reltuples < counted AND c.relname IN ('contacts', 'companies', 'leads', 'tasks', 'import_rows')
    LOOP
        EXECUTE format('ANALYZE %I', known);
    END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_measure(text[], bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rapport_measure(text[], bigint) TO rapport_tenant;

-- Takes out what imports have kept of `forgotten` rows, and the files that may name them: in which of these someone stands who
-- was refused, or never imported, nobody knows. A file that is being imported is left to be; it goes with the others.
CREATE FUNCTION rapport_forget_imports(forgotten uuid[]) RETURNS void LANGUAGE sql SET search_path = public, pg_temp AS $$
    UPDATE import_rows SET before = NULL WHERE business_id = rapport_business() AND row_id = ANY (forgotten) AND before IS NOT NULL;
    DELETE FROM import_rows r USING imports i WHERE i.business_id = rapport_business() AND i.state = 'tried'
        AND r.business_id = i.business_id AND r.id = (left(i.run_id::text, 18) || '-0000-000000000000')::uuid;
    DELETE FROM import_chunks c WHERE c.business_id = rapport_business() AND NOT EXISTS (
        SELECT FROM imports i WHERE i.business_id = c.business_id AND i.id = c.import_id AND i.state IN ('trying', 'importing'));
$$;
REVOKE EXECUTE ON FUNCTION rapport_forget_imports(uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rapport_forget_imports(uuid[]) TO rapport_tenant;
