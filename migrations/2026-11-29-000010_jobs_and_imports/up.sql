-- Work that takes longer than a request, and requests that may be repeated.
--
-- The API shows a job as a row of `jobs`; the worker runs it by a row of `job_runs`, which exists as long as there is
-- something to do. So looking for work never walks over finished jobs, and the input of a job does not outlive it.

CREATE TABLE jobs (
    business_id uuid NOT NULL CONSTRAINT jobs_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    kind text NOT NULL,
    state text NOT NULL DEFAULT 'queued'
        CONSTRAINT jobs_state_check CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    -- its progress, written at most once a second, because each write is an entry of the audit log
    total bigint,
    done bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    result jsonb,
    error jsonb,
    actor_kind text NOT NULL CONSTRAINT jobs_actor_kind_check CHECK (actor_kind IN ('user', 'api_key', 'system')),
    actor_id uuid,
    started_at timestamptz,
    finished_at timestamptz,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id)
);
CREATE INDEX jobs_created_at_idx ON jobs (business_id, created_at, id);
CREATE INDEX jobs_actor_id_idx ON jobs (business_id, actor_id, created_at, id);
-- those that finished long ago are purged
CREATE INDEX jobs_finished_at_idx ON jobs (finished_at) WHERE finished_at IS NOT NULL;
-- purging old ones is no event
SELECT rapport_enable_audit('jobs', 'business_id', 'INSERT UPDATE');

CREATE TABLE job_runs (
    business_id uuid NOT NULL CONSTRAINT job_runs_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    -- the job's
    id uuid NOT NULL,
    kind text NOT NULL,
    input jsonb NOT NULL,
    -- where the next step begins; only the job's code reads it
    cursor jsonb NOT NULL DEFAULT 'null',
    total bigint,
    done bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    -- the rights of its creator at that time, which it runs with
    role text NOT NULL CONSTRAINT job_runs_role_check CHECK (role IN ('owner', 'admin', 'manager', 'agent', 'viewer')),
    permissions text[] NOT NULL,
    sees_only uuid,
    -- increases with each claim: a worker with an older one has lost its lease
    token bigint NOT NULL DEFAULT 0,
    -- claims since a step succeeded
    attempts integer NOT NULL DEFAULT 0,
    run_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- when a job of this business last had its turn
    served_at timestamptz,
    leased_until timestamptz,
    progress_published_at timestamptz,
    PRIMARY KEY (business_id, id),
    CONSTRAINT job_runs_id_fkey FOREIGN KEY (business_id, id) REFERENCES jobs (business_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The responses to requests with an Idempotency-Key, kept in the transaction of their effect.
CREATE TABLE idempotency_keys (
    business_id uuid NOT NULL CONSTRAINT idempotency_keys_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    -- derived from the caller, the route and the key, which itself is not kept
    id uuid NOT NULL,
    -- SHA-256 of the request's parameters and body
    fingerprint bytea NOT NULL,
    status integer NOT NULL,
    location text,
    etag text,
    -- null: it is not shown again, because it held a secret or an erased person's data
    body bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id)
);
-- expired ones are purged
CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (created_at);

-- The kept response of a request, once no other transaction works on the same. The lock comes first, in a statement of its
-- own, so that the commit of its last holder is seen. `free` is false while another transaction holds it.
CREATE FUNCTION rapport_idempotency_lookup(asked uuid) RETURNS TABLE (free boolean, fingerprint bytea, status integer, location text, etag text, body bytea)
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(('x' || encode(substr(uuid_send(asked), 1, 8), 'hex'))::bit(64)::bigint) THEN
        RETURN QUERY SELECT false, NULL::bytea, NULL::integer, NULL::text, NULL::text, NULL::bytea;
    ELSE
        RETURN QUERY SELECT true, k.fingerprint, k.status, k.location, k.etag, k.body
            FROM (SELECT 1) one LEFT JOIN idempotency_keys k ON k.business_id = rapport_business() AND k.id = asked;
    END IF;
END $$;

-- Imports: files of rows, kept in parts until they are imported, and the results of their rows.

CREATE TABLE imports (
    business_id uuid NOT NULL CONSTRAINT imports_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    resource text NOT NULL CONSTRAINT imports_resource_check CHECK (resource IN ('contacts', 'companies', 'leads', 'tasks')),
    format text NOT NULL CONSTRAINT imports_format_check CHECK (format IN ('csv', 'ndjson')),
    file_name text,
    bytes bigint NOT NULL,
    -- lines of the file: about as many as rows
    lines bigint NOT NULL,
    -- of a CSV file: {"separator": ";", "headers": […]}
    layout jsonb NOT NULL,
    -- as the request gave it, by header; and the field of each column
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
    -- the job that works on it or was the last to; and the job that `import_row_results` belong to
    job_id uuid,
    job text GENERATED ALWAYS AS ('/api/v1/ops/jobs/' || job_id::text) STORED,
    run_id uuid,
    actor_kind text NOT NULL CONSTRAINT imports_actor_kind_check CHECK (actor_kind IN ('user', 'api_key', 'system')),
    actor_id uuid,
    -- whether its file and its rows are purged
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
-- for the trigger of jobs that fail or are cancelled
CREATE INDEX imports_job_id_idx ON imports (business_id, job_id);
SELECT rapport_enable_audit('imports', 'business_id', 'INSERT UPDATE');

-- The file, in parts of a mebibyte. They are written before their import, which is made when the whole file is there; parts
-- without an import are purged.
CREATE TABLE import_chunks (
    business_id uuid NOT NULL CONSTRAINT import_chunks_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    import_id uuid NOT NULL,
    number integer NOT NULL,
    data bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id)
);
-- the service reads substrings, which compressed data would have to be unpacked for
ALTER TABLE import_chunks ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX import_chunks_number_key ON import_chunks (business_id, import_id, number);
CREATE INDEX import_chunks_created_at_idx ON import_chunks (created_at);

-- The results of a file's rows. The id is the first half of the run's id (a job's) and the number of the row, so that the key
-- keeps the rows of a run together and in order; the last three bits tell apart several results of one row.
CREATE TABLE import_row_results (
    business_id uuid NOT NULL CONSTRAINT import_row_results_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL,
    -- the row it wrote; of a dry run, a key that the row would have had
    row_id uuid,
    resource text NOT NULL,
    outcome text NOT NULL CONSTRAINT import_row_results_outcome_check
        CHECK (outcome IN ('created', 'changed', 'unchanged', 'refused', 'planned')),
    -- the version of the written row; of a dry run, a hash of the row's content
    version bigint,
    -- of a changed row: its fields before; of row 0 of a dry run: a sample of the changes
    before jsonb,
    -- of a refused row: the errors, and where it is in the file
    faults jsonb,
    place bigint,
    length bigint,
    PRIMARY KEY (business_id, id)
);
CREATE INDEX import_row_results_row_id_idx ON import_row_results (business_id, row_id) WHERE row_id IS NOT NULL;

-- Sets the state and the counts of an import whose job failed or was cancelled.
CREATE FUNCTION rapport_import_ended_trigger() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
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
    WHEN (NEW.state IN ('failed', 'cancelled') AND OLD.state IN ('queued', 'running')) EXECUTE FUNCTION rapport_import_ended_trigger();

-- Finds living rows of the transaction's business by a field of a file's rows; `place` counts `keys` from 0. Row-level
-- security would keep these look-ups from their indexes (`lower` is not leakproof), so the function runs as the owner of the
-- tables, on that business only. It makes one index look-up for each key, planned anew with each call: while a first import
-- fills a table, a plan that was good a second ago reads all of it. By name, which is not unique, it finds only rows that may
-- be meant: `owns` has an `i` where the file's row has an external id, and a `u` where it has the other unique field; a row
-- with one of its own is another.
CREATE FUNCTION rapport_import_matches(wanted text, field text, keys text[], owns text[] DEFAULT '{}') RETURNS TABLE (place bigint, id uuid)
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
REVOKE EXECUTE ON FUNCTION rapport_import_matches(text, text, text[], text[]) FROM PUBLIC;

-- Analyzes tables that have grown to so many rows within a moment, before autovacuum does.
CREATE FUNCTION rapport_analyze_grown(grown text[], counted bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE
    known text;
BEGIN
    FOR known IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
        AND c.relname = ANY (grown) AND c.reltuples < counted AND c.relname IN ('contacts', 'companies', 'leads', 'tasks', 'import_row_results')
    LOOP
        EXECUTE format('ANALYZE %I', known);
    END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_analyze_grown(text[], bigint) FROM PUBLIC;
