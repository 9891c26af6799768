-- Who did what to which row: written by triggers in the transaction that does it, so that no way of writing can forget,
-- psql included. The service can add nothing to it by hand and change nothing in it.

CREATE TABLE audit_log (
    -- no foreign key: it outlives what it tells of, and its check would lock the business with every write
    business_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    -- not now(), so that what one transaction does is in order
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- the noun as the API has it, and its row
    noun text NOT NULL,
    row_id uuid NOT NULL,
    action text NOT NULL CONSTRAINT audit_log_action_check CHECK (action IN ('created', 'updated', 'deleted', 'restored', 'erased', 'exported')),
    -- `system`: whoever works on the database itself
    actor_kind text NOT NULL CONSTRAINT audit_log_actor_kind_check CHECK (actor_kind IN ('user', 'api_key', 'system')),
    actor_id uuid,
    request_id text,
    -- {"status": {"old": "new", "new": "won"}}; of a new row nothing, because the row itself tells
    changes jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (business_id, id)
);
CREATE INDEX audit_log_created_at_idx ON audit_log (business_id, created_at, id);
CREATE INDEX audit_log_row_id_idx ON audit_log (business_id, row_id, created_at, id);
CREATE INDEX audit_log_actor_id_idx ON audit_log (business_id, actor_id, created_at, id);
SELECT rapport_wall('audit_log', 'SELECT');

-- The triggers' function: `before` and `after` are the rows as they were and as they are. As the owner of the log, which
-- the service's role may only read. The business of a row is its `business_id`, unless the trigger says otherwise.
-- No nested loops: how many rows a transition table has is guessed once for a connection, by its first statement, as a rule of
-- one row; thousands would then be compared with each other. (What a loop would cost on paper must not wake the JIT either.)
CREATE FUNCTION rapport_audited() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_nestloop = off SET jit = off AS $$
DECLARE
    noun constant text := replace(TG_TABLE_NAME, '_', '-');
    tenant constant text := coalesce(TG_ARGV[0], 'business_id');
    here constant uuid := rapport_business();
    -- who acts, as the service says it: kind and id
    actor constant text[] := string_to_array(nullif(current_setting('rapport.actor', true), ''), ' ');
    kind constant text := coalesce(actor[1], 'system');
    request constant text := nullif(nullif(current_setting('rapport.request', true), ''), '-');
    -- what the database derives, and secrets
    untold constant text[] := ARRAY['version', 'created_at', 'updated_at', 'search', 'sort_name', 'hash', 'previous_hash',
        'last_used_at', 'last_message_at', 'unread_count', 'window_expires_at', 'deleted_at'];
BEGIN
    IF (current_setting('rapport.erasing', true), TG_OP) IN (('anonymise', 'UPDATE'), ('delete', 'DELETE')) THEN
        -- A person is forgotten: that, and not what was known of them. (Rows of others, whose links to what is deleted are
        -- emptied, are told of as ever.)
        INSERT INTO audit_log (business_id, noun, row_id, action, actor_kind, actor_id, request_id)
        SELECT coalesce((row_was ->> tenant)::uuid, here), noun, (row_was ->> 'id')::uuid, 'erased', kind, actor[2]::uuid, request
        FROM (SELECT to_jsonb(b) AS row_was FROM before b) b;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO audit_log (business_id, noun, row_id, action, actor_kind, actor_id, request_id, changes)
        SELECT coalesce((row_is ->> tenant)::uuid, here), noun, (row_is ->> 'id')::uuid,
            CASE WHEN (row_was ->> 'deleted_at') IS NOT DISTINCT FROM (row_is ->> 'deleted_at') THEN 'updated'
                 WHEN (row_is ->> 'deleted_at') IS NULL THEN 'restored' ELSE 'deleted' END,
            kind, actor[2]::uuid, request, coalesce(changed, '{}')
        FROM (SELECT to_jsonb(a) AS row_is, to_jsonb(b) AS row_was FROM after a JOIN before b ON a.id = b.id) changing,
        LATERAL (SELECT jsonb_object_agg(key, jsonb_build_object('old', row_was -> key, 'new', value)) AS changed
                 FROM jsonb_each(row_is) WHERE value IS DISTINCT FROM row_was -> key AND key <> ALL (untold)) c
        WHERE coalesce((row_is ->> tenant)::uuid, here) IS NOT NULL
          AND (changed IS NOT NULL OR (row_was ->> 'deleted_at') IS DISTINCT FROM (row_is ->> 'deleted_at'));
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO audit_log (business_id, noun, row_id, action, actor_kind, actor_id, request_id)
        SELECT coalesce((row_is ->> tenant)::uuid, here), noun, (row_is ->> 'id')::uuid, 'created',
            -- whoever signs in acts themselves
            CASE WHEN noun = 'sessions' AND actor IS NULL THEN 'user' ELSE kind END,
            CASE WHEN noun = 'sessions' AND actor IS NULL THEN (row_is ->> 'user_id')::uuid ELSE actor[2]::uuid END, request
        FROM (SELECT to_jsonb(a) AS row_is FROM after a) a
        WHERE coalesce((row_is ->> tenant)::uuid, here) IS NOT NULL;
    ELSE
        INSERT INTO audit_log (business_id, noun, row_id, action, actor_kind, actor_id, request_id, changes)
        SELECT coalesce((row_was ->> tenant)::uuid, here), noun, (row_was ->> 'id')::uuid, 'deleted', kind, actor[2]::uuid, request,
            -- of a session no address: it is nobody's business any more
            coalesce((SELECT jsonb_object_agg(key, jsonb_build_object('old', value)) FROM jsonb_each(row_was)
                      WHERE value <> 'null' AND key <> ALL (untold) AND noun <> 'sessions'), '{}')
        FROM (SELECT to_jsonb(b) AS row_was FROM before b) b
        WHERE coalesce((row_was ->> tenant)::uuid, here) IS NOT NULL;
    END IF;
    RETURN NULL;
END $$;

REVOKE EXECUTE ON FUNCTION rapport_audited() FROM PUBLIC;

-- Takes out what was known of `forgotten` rows; that something was done to them stays.
CREATE FUNCTION rapport_erase_audit(forgotten uuid[]) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE audit_log SET changes = '{}' WHERE business_id = rapport_business() AND row_id = ANY (forgotten) AND changes <> '{}'
$$;
REVOKE EXECUTE ON FUNCTION rapport_erase_audit(uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rapport_erase_audit(uuid[]) TO rapport_tenant;

-- Tells that all about a contact was taken away: the one read that is told of.
CREATE FUNCTION rapport_tell_export(contact uuid) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO audit_log (business_id, noun, row_id, action, actor_kind, actor_id, request_id)
    SELECT rapport_business(), 'contacts', contact, 'exported', coalesce(actor[1], 'system'), actor[2]::uuid,
        nullif(nullif(current_setting('rapport.request', true), ''), '-')
    FROM (SELECT string_to_array(nullif(current_setting('rapport.actor', true), ''), ' ') AS actor) acting
$$;
REVOKE EXECUTE ON FUNCTION rapport_tell_export(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rapport_tell_export(uuid) TO rapport_tenant;

-- Gives `audited` its triggers; `tenant` is the column that names its business.
CREATE FUNCTION rapport_audit(audited regclass, tenant text DEFAULT 'business_id', events text DEFAULT 'INSERT UPDATE DELETE') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    event text;
    seen text;
BEGIN
    FOR event, seen IN VALUES ('INSERT', 'NEW TABLE AS after'), ('DELETE', 'OLD TABLE AS before'),
                              ('UPDATE', 'OLD TABLE AS before NEW TABLE AS after') LOOP
        IF event = ANY (string_to_array(events, ' ')) THEN
            EXECUTE format('CREATE TRIGGER audit_%s AFTER %s ON %s REFERENCING %s FOR EACH STATEMENT EXECUTE FUNCTION rapport_audited(%L)',
                lower(event), event, audited, seen, tenant);
        END IF;
    END LOOP;
END $$;

-- One line for each table whose rows the API shows.
SELECT rapport_audit('businesses', 'id');
-- a person belongs to several: what is done to them is told where it was done
SELECT rapport_audit('users', 'nowhere');
SELECT rapport_audit('memberships');
SELECT rapport_audit('api_keys');
-- signing in and out; not each renewal
SELECT rapport_audit('sessions', 'business_id', 'INSERT DELETE');
SELECT rapport_audit('companies');
SELECT rapport_audit('contacts');
SELECT rapport_audit('campaigns');
SELECT rapport_audit('leads');
SELECT rapport_audit('conversations');
SELECT rapport_audit('messages');
SELECT rapport_audit('services');
SELECT rapport_audit('staff');
SELECT rapport_audit('bookings');
SELECT rapport_audit('tasks');
SELECT rapport_audit('notes');
