-- The audit log in a third of the time: its triggers name the columns of their table and no longer convert whole rows to
-- JSON. The entries are the same.
--
-- An INSERT or a DELETE needs the columns that all tables have. An UPDATE compares all columns, so each table has a function
-- of its own for it, which rapport_enable_audit writes from the table's columns: a migration that changes the columns of an
-- audited table calls it again.

-- One random value instead of three. Those of gen_random_uuid() are of version 4: the bits of version 7 include its own.
CREATE OR REPLACE FUNCTION rapport_uuid_v7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    PLACING substring(int8send((date_part('epoch', clock_timestamp()) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;

-- Columns without entries: derived ones and secrets.
CREATE FUNCTION rapport_audit_omitted() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY['version', 'created_at', 'updated_at', 'search', 'sort_name', 'hash', 'previous_hash',
        'secret', 'previous_secret', 'last_used_at', 'failing_since', 'last_message_at', 'unread_count', 'unread_new', 'unread_since', 'window_expires_at', 'deleted_at']
$$;

-- The function of the triggers of INSERT and DELETE; `before` and `after` are the old and the new rows. It runs as the owner
-- of the log, which the tenant's role may only read. The business of a row is its `business_id`, unless the trigger names
-- another column. Each entry is queued for the event log, except those about sessions.
--
-- No nested loops: PostgreSQL estimates the size of a transition table once for a connection, by its first statement,
-- normally one row. (The estimated cost of such a loop must not start the JIT either.)
CREATE OR REPLACE FUNCTION rapport_audit_trigger() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_nestloop = off SET jit = off AS $$
-- The label tells these from columns of the tables.
<<entry>>
DECLARE
    resource constant text := replace(TG_TABLE_NAME, '_', '-');
    tenant constant text := coalesce(TG_ARGV[0], 'business_id');
    here constant uuid := rapport_business();
    -- kind and id of the actor, as the service sets it
    actor constant text[] := string_to_array(nullif(current_setting('rapport.actor', true), ''), ' ');
    kind constant text := coalesce(actor[1], 'system');
    actor_id constant uuid := actor[2];
    request constant text := nullif(nullif(current_setting('rapport.request', true), ''), '-');
    omitted constant text[] := rapport_audit_omitted();
BEGIN
    IF TG_OP = 'INSERT' AND entry.tenant = 'business_id' AND entry.resource <> 'sessions' THEN
        WITH logged AS (
            INSERT INTO audit_log (business_id, resource, row_id, action, actor_kind, actor_id, request_id)
            SELECT a.business_id, entry.resource, a.id, 'created', entry.kind, entry.actor_id, entry.request FROM after a
            RETURNING business_id, id)
        INSERT INTO event_outbox (business_id, id) SELECT business_id, id FROM logged;
    ELSIF TG_OP = 'INSERT' THEN
        WITH logged AS (
            INSERT INTO audit_log (business_id, resource, row_id, action, actor_kind, actor_id, request_id)
            SELECT coalesce((row_is ->> tenant)::uuid, here), resource, (row_is ->> 'id')::uuid, 'created',
                -- the user who signs in is the actor
                CASE WHEN resource = 'sessions' AND actor IS NULL THEN 'user' ELSE kind END,
                CASE WHEN resource = 'sessions' AND actor IS NULL THEN (row_is ->> 'user_id')::uuid ELSE actor_id END, request
            FROM (SELECT to_jsonb(a) AS row_is FROM after a OFFSET 0) a
            WHERE coalesce((row_is ->> tenant)::uuid, here) IS NOT NULL
            RETURNING business_id, id)
        INSERT INTO event_outbox (business_id, id) SELECT business_id, id FROM logged WHERE resource <> 'sessions';
    ELSIF TG_OP = 'DELETE' AND current_setting('rapport.erasing', true) = 'delete' THEN
        -- Erasure of a person: the entry has no values. (Rows of others, whose links to the deleted rows are emptied, have
        -- their usual entries.)
        WITH logged AS (
            INSERT INTO audit_log (business_id, resource, row_id, action, actor_kind, actor_id, request_id)
            SELECT coalesce((row_was ->> tenant)::uuid, here), resource, (row_was ->> 'id')::uuid, 'erased', kind, actor_id, request
            FROM (SELECT to_jsonb(b) AS row_was FROM before b OFFSET 0) b
            RETURNING business_id, id)
        INSERT INTO event_outbox (business_id, id) SELECT business_id, id FROM logged WHERE resource <> 'sessions';
    ELSIF TG_OP = 'DELETE' THEN
        WITH logged AS (
            INSERT INTO audit_log (business_id, resource, row_id, action, actor_kind, actor_id, request_id, changes)
            SELECT coalesce((row_was ->> tenant)::uuid, here), resource, (row_was ->> 'id')::uuid, 'deleted', kind, actor_id, request,
                -- no values of a session, whose address is personal data
                coalesce((SELECT jsonb_object_agg(key, jsonb_build_object('old', value)) FROM jsonb_each(row_was)
                          WHERE value <> 'null' AND key <> ALL (omitted) AND resource <> 'sessions'), '{}')
            FROM (SELECT to_jsonb(b) AS row_was FROM before b OFFSET 0) b
            WHERE coalesce((row_was ->> tenant)::uuid, here) IS NOT NULL
            RETURNING business_id, id)
        INSERT INTO event_outbox (business_id, id) SELECT business_id, id FROM logged WHERE resource <> 'sessions';
    ELSE
        RAISE EXCEPTION 'the audit log has no entries for % of %', TG_OP, TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

-- Gives a table its triggers, and the function of the UPDATE one; `tenant` is the column that names the row's business. May
-- be called again.
CREATE OR REPLACE FUNCTION rapport_enable_audit(audited regclass, tenant text DEFAULT 'business_id', events text DEFAULT 'INSERT UPDATE DELETE') RETURNS void LANGUAGE plpgsql AS $enable$
DECLARE
    name constant text := (SELECT relname FROM pg_class WHERE oid = audited);
    called constant text := 'rapport_audit_update_' || name;
    deletable constant boolean := EXISTS (SELECT FROM pg_attribute WHERE attrelid = audited AND attname = 'deleted_at' AND NOT attisdropped);
    business constant text := CASE WHEN EXISTS (SELECT FROM pg_attribute WHERE attrelid = audited AND attname = tenant AND NOT attisdropped)
                                   THEN format('coalesce(r.%I, entry.here)', tenant) ELSE 'entry.here' END;
    event text;
    seen text;
    differences text;
BEGIN
    FOR event, seen IN VALUES ('INSERT', 'NEW TABLE AS after'), ('DELETE', 'OLD TABLE AS before') LOOP
        IF event = ANY (string_to_array(events, ' ')) THEN
            EXECUTE format('CREATE OR REPLACE TRIGGER audit_%s AFTER %s ON %s REFERENCING %s FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger(%L)',
                lower(event), event, audited, seen, tenant);
        END IF;
    END LOOP;
    IF 'UPDATE' <> ALL (string_to_array(events, ' ')) THEN
        RETURN;
    END IF;
    -- For each column that differs its JSON as text, which is parsed once for a row: a tenth of the time that
    -- jsonb_object_agg takes. JSON has one null where SQL has two, and a type may call values equal that it shows differently.
    SELECT string_agg(format(E'\n                    CASE WHEN %s IS DISTINCT FROM %s THEN %L || coalesce(to_json(b.%I)::text, ''null'') || '',"new":'' || coalesce(to_json(r.%I)::text, ''null'') || ''}'' END',
            format(compared, 'r', attname), format(compared, 'b', attname), to_json(attname)::text || ':{"old":', attname, attname), ',' ORDER BY attnum)
    INTO STRICT differences
    FROM pg_attribute, LATERAL (SELECT CASE
        WHEN atttypid = ANY ('{uuid,text,boolean,smallint,integer,bigint,numeric,date,timestamptz}'::regtype[]) THEN '%s.%I'
        WHEN atttypid = 'jsonb'::regtype THEN 'coalesce(%s.%I, ''null'')'
        ELSE 'coalesce(to_jsonb(%s.%I), ''null'')' END AS compared) c
    WHERE attrelid = audited AND attnum > 0 AND NOT attisdropped AND attname <> ALL (rapport_audit_omitted());

    EXECUTE format($function$
CREATE OR REPLACE FUNCTION %1$I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_nestloop = off SET jit = off AS $body$
<<entry>>
DECLARE
    here constant uuid := rapport_business();
    actor constant text[] := string_to_array(nullif(current_setting('rapport.actor', true), ''), ' ');
    kind constant text := coalesce(actor[1], 'system');
    actor_id constant uuid := actor[2];
    request constant text := nullif(nullif(current_setting('rapport.request', true), ''), '-');
BEGIN
    IF current_setting('rapport.erasing', true) = 'anonymise' THEN
        -- Erasure of a person: the entry has no values.
        WITH logged AS (
            INSERT INTO audit_log (business_id, resource, row_id, action, actor_kind, actor_id, request_id)
            SELECT %2$s, %3$L, r.id, 'erased', entry.kind, entry.actor_id, entry.request FROM before r
            RETURNING business_id, id)
        INSERT INTO event_outbox (business_id, id) SELECT business_id, id FROM logged;
    ELSE
        WITH logged AS (
            INSERT INTO audit_log (business_id, resource, row_id, action, actor_kind, actor_id, request_id, changes)
            SELECT changed.business, %3$L, changed.id, changed.action, entry.kind, entry.actor_id, entry.request, ('{' || changed.differences || '}')::jsonb
            FROM (SELECT %2$s AS business, r.id, %4$s AS action, concat_ws(',', %5$s) AS differences
                  FROM after r JOIN before b ON r.id = b.id OFFSET 0) changed
            WHERE (changed.differences <> '' OR changed.action <> 'updated') AND changed.business IS NOT NULL
            RETURNING business_id, id)
        INSERT INTO event_outbox (business_id, id) SELECT business_id, id FROM logged;
    END IF;
    RETURN NULL;
END $body$$function$,
        called, business, replace(name, '_', '-'),
        CASE WHEN deletable THEN $$CASE WHEN r.deleted_at IS NOT DISTINCT FROM b.deleted_at THEN 'updated' WHEN r.deleted_at IS NULL THEN 'restored' ELSE 'deleted' END$$ ELSE $$'updated'::text$$ END,
        differences);
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %I() FROM PUBLIC', called);
    EXECUTE format('CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON %s REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION %I()',
        audited, called);
END $enable$;

-- Writers of a table wait for this while its triggers are replaced.
SELECT rapport_enable_audit('businesses', 'id');
SELECT rapport_enable_audit('users', 'nowhere');
SELECT rapport_enable_audit('memberships');
SELECT rapport_enable_audit('api_keys');
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
SELECT rapport_enable_audit('webhooks');
SELECT rapport_enable_audit('jobs', 'business_id', 'INSERT UPDATE');
SELECT rapport_enable_audit('imports', 'business_id', 'INSERT UPDATE');
