-- The audit log: who changed which row and how. Triggers write it in the transaction of the change, so no way of writing can
-- bypass it, psql included. The service can neither add entries by hand nor change any.

CREATE TABLE audit_log (
    -- no foreign key: entries outlive their business, and its check would lock the business with every write
    business_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    -- not now(), so that the changes of one transaction are in order
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- the resource as the API has it, and its row
    resource text NOT NULL,
    row_id uuid NOT NULL,
    action text NOT NULL CONSTRAINT audit_log_action_check CHECK (action IN ('created', 'updated', 'deleted', 'restored', 'erased', 'exported')),
    -- `system`: a session outside the service, such as psql
    actor_kind text NOT NULL CONSTRAINT audit_log_actor_kind_check CHECK (actor_kind IN ('user', 'api_key', 'system')),
    actor_id uuid,
    request_id text,
    -- {"status": {"old": "new", "new": "won"}}; empty for a new row, which itself has the values
    changes jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (business_id, id)
);
CREATE INDEX audit_log_created_at_idx ON audit_log (business_id, created_at, id);
CREATE INDEX audit_log_row_id_idx ON audit_log (business_id, row_id, created_at, id);
CREATE INDEX audit_log_actor_id_idx ON audit_log (business_id, actor_id, created_at, id);

-- The function of the statement-level triggers; `before` and `after` are the old and the new rows. It runs as the owner of
-- the log, which the tenant's role may only read. The business of a row is its `business_id`, unless the trigger names
-- another column. Each entry is queued for the event log, except those about sessions.
--
-- No nested loops: PostgreSQL estimates the size of a transition table once for a connection, by its first statement,
-- normally one row; thousands of rows would then be compared with each other. (The estimated cost of such a loop must not
-- start the JIT either.) `OFFSET 0` keeps the JSON of a row, which would else be made again for each of its fields.
CREATE FUNCTION rapport_audit_trigger() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_nestloop = off SET jit = off AS $$
DECLARE
    resource constant text := replace(TG_TABLE_NAME, '_', '-');
    tenant constant text := coalesce(TG_ARGV[0], 'business_id');
    here constant uuid := rapport_business();
    -- kind and id of the actor, as the service sets it
    actor constant text[] := string_to_array(nullif(current_setting('rapport.actor', true), ''), ' ');
    kind constant text := coalesce(actor[1], 'system');
    request constant text := nullif(nullif(current_setting('rapport.request', true), ''), '-');
    -- derived columns and secrets
    omitted constant text[] := ARRAY['version', 'created_at', 'updated_at', 'search', 'sort_name', 'hash', 'previous_hash',
        'secret', 'previous_secret', 'last_used_at', 'failing_since', 'last_message_at', 'unread_count', 'unread_new', 'unread_since', 'window_expires_at', 'deleted_at'];
BEGIN
    IF (current_setting('rapport.erasing', true), TG_OP) IN (('anonymise', 'UPDATE'), ('delete', 'DELETE')) THEN
        -- Erasure of a person: the entry has no values. (Rows of others, whose links to the deleted rows are emptied, have
        -- their usual entries.)
        WITH logged AS (
            INSERT INTO audit_log (business_id, resource, row_id, action, actor_kind, actor_id, request_id)
            SELECT coalesce((row_was ->> tenant)::uuid, here), resource, (row_was ->> 'id')::uuid, 'erased', kind, actor[2]::uuid, request
            FROM (SELECT to_jsonb(b) AS row_was FROM before b) b
            RETURNING business_id, id)
        INSERT INTO event_outbox (business_id, id) SELECT business_id, id FROM logged WHERE resource <> 'sessions';
    ELSIF TG_OP = 'UPDATE' THEN
        WITH logged AS (
            INSERT INTO audit_log (business_id, resource, row_id, action, actor_kind, actor_id, request_id, changes)
            SELECT coalesce((row_is ->> tenant)::uuid, here), resource, (row_is ->> 'id')::uuid,
                CASE WHEN (row_was ->> 'deleted_at') IS NOT DISTINCT FROM (row_is ->> 'deleted_at') THEN 'updated'
                     WHEN (row_is ->> 'deleted_at') IS NULL THEN 'restored' ELSE 'deleted' END,
                kind, actor[2]::uuid, request, coalesce(changed, '{}')
            FROM (SELECT to_jsonb(a) AS row_is, to_jsonb(b) AS row_was FROM after a JOIN before b ON a.id = b.id OFFSET 0) changing,
            LATERAL (SELECT jsonb_object_agg(key, jsonb_build_object('old', row_was -> key, 'new', value)) AS changed
                     FROM jsonb_each(row_is) WHERE value IS DISTINCT FROM row_was -> key AND key <> ALL (omitted)) c
            WHERE coalesce((row_is ->> tenant)::uuid, here) IS NOT NULL
              AND (changed IS NOT NULL OR (row_was ->> 'deleted_at') IS DISTINCT FROM (row_is ->> 'deleted_at'))
            RETURNING business_id, id)
        INSERT INTO event_outbox (business_id, id) SELECT business_id, id FROM logged WHERE resource <> 'sessions';
    ELSIF TG_OP = 'INSERT' THEN
        WITH logged AS (
            INSERT INTO audit_log (business_id, resource, row_id, action, actor_kind, actor_id, request_id)
            SELECT coalesce((row_is ->> tenant)::uuid, here), resource, (row_is ->> 'id')::uuid, 'created',
                -- the user who signs in is the actor
                CASE WHEN resource = 'sessions' AND actor IS NULL THEN 'user' ELSE kind END,
                CASE WHEN resource = 'sessions' AND actor IS NULL THEN (row_is ->> 'user_id')::uuid ELSE actor[2]::uuid END, request
            FROM (SELECT to_jsonb(a) AS row_is FROM after a) a
            WHERE coalesce((row_is ->> tenant)::uuid, here) IS NOT NULL
            RETURNING business_id, id)
        INSERT INTO event_outbox (business_id, id) SELECT business_id, id FROM logged WHERE resource <> 'sessions';
    ELSE
        WITH logged AS (
            INSERT INTO audit_log (business_id, resource, row_id, action, actor_kind, actor_id, request_id, changes)
            SELECT coalesce((row_was ->> tenant)::uuid, here), resource, (row_was ->> 'id')::uuid, 'deleted', kind, actor[2]::uuid, request,
                -- no values of a session, whose address is personal data
                coalesce((SELECT jsonb_object_agg(key, jsonb_build_object('old', value)) FROM jsonb_each(row_was)
                          WHERE value <> 'null' AND key <> ALL (omitted) AND resource <> 'sessions'), '{}')
            FROM (SELECT to_jsonb(b) AS row_was FROM before b) b
            WHERE coalesce((row_was ->> tenant)::uuid, here) IS NOT NULL
            RETURNING business_id, id)
        INSERT INTO event_outbox (business_id, id) SELECT business_id, id FROM logged WHERE resource <> 'sessions';
    END IF;
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_audit_trigger() FROM PUBLIC;

-- Gives a table its triggers; `tenant` is the column that names the row's business.
CREATE FUNCTION rapport_enable_audit(audited regclass, tenant text DEFAULT 'business_id', events text DEFAULT 'INSERT UPDATE DELETE') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    event text;
    seen text;
BEGIN
    FOR event, seen IN VALUES ('INSERT', 'NEW TABLE AS after'), ('DELETE', 'OLD TABLE AS before'),
                              ('UPDATE', 'OLD TABLE AS before NEW TABLE AS after') LOOP
        IF event = ANY (string_to_array(events, ' ')) THEN
            EXECUTE format('CREATE TRIGGER audit_%s AFTER %s ON %s REFERENCING %s FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger(%L)',
                lower(event), event, audited, seen, tenant);
        END IF;
    END LOOP;
END $$;

-- One line for each table whose rows the API shows; tables of later migrations have theirs beside them.
SELECT rapport_enable_audit('businesses', 'id');
-- a user belongs to several businesses: the entry goes to the one that the change was made in
SELECT rapport_enable_audit('users', 'nowhere');
SELECT rapport_enable_audit('memberships');
SELECT rapport_enable_audit('api_keys');
-- signing in and out, not each renewal
SELECT rapport_enable_audit('sessions', 'business_id', 'INSERT DELETE');
SELECT rapport_enable_audit('invitations');
SELECT rapport_enable_audit('companies');
SELECT rapport_enable_audit('contacts');
SELECT rapport_enable_audit('campaigns');
SELECT rapport_enable_audit('leads');
SELECT rapport_enable_audit('conversations');
SELECT rapport_enable_audit('messages');
SELECT rapport_enable_audit('services');
SELECT rapport_enable_audit('staff');
SELECT rapport_enable_audit('bookings');
SELECT rapport_enable_audit('tasks');
SELECT rapport_enable_audit('notes');
SELECT rapport_enable_audit('decisions');
SELECT rapport_enable_audit('merges');

-- Records that all data about a contact was exported: the one read that the log has an entry of.
CREATE FUNCTION rapport_audit_export(contact uuid) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO audit_log (business_id, resource, row_id, action, actor_kind, actor_id, request_id)
    SELECT rapport_business(), 'contacts', contact, 'exported', coalesce(actor[1], 'system'), actor[2]::uuid,
        nullif(nullif(current_setting('rapport.request', true), ''), '-')
    FROM (SELECT string_to_array(nullif(current_setting('rapport.actor', true), ''), ' ') AS actor) acting
$$;
REVOKE EXECUTE ON FUNCTION rapport_audit_export(uuid) FROM PUBLIC;
