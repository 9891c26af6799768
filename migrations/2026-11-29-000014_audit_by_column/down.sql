CREATE OR REPLACE FUNCTION rapport_uuid_v7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT encode(
        set_byte(set_byte(
            overlay(uuid_send(gen_random_uuid())
                    PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6),
            6, (get_byte(uuid_send(gen_random_uuid()), 6) & 15) | 112),
            8, (get_byte(uuid_send(gen_random_uuid()), 8) & 63) | 128),
        'hex')::uuid
$$;

CREATE OR REPLACE FUNCTION rapport_audit_trigger() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
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

CREATE OR REPLACE FUNCTION rapport_enable_audit(audited regclass, tenant text DEFAULT 'business_id', events text DEFAULT 'INSERT UPDATE DELETE') RETURNS void LANGUAGE plpgsql AS $$
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

-- The triggers of the earlier function.
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON businesses REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON users REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('nowhere');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON memberships REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON api_keys REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON invitations REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON companies REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON contacts REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON campaigns REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON leads REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON conversations REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON messages REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON services REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON staff REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON bookings REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON tasks REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON notes REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON decisions REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON merges REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON webhooks REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON jobs REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON imports REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION rapport_audit_trigger('business_id');

DROP FUNCTION rapport_audit_update_businesses();
DROP FUNCTION rapport_audit_update_users();
DROP FUNCTION rapport_audit_update_memberships();
DROP FUNCTION rapport_audit_update_api_keys();
DROP FUNCTION rapport_audit_update_invitations();
DROP FUNCTION rapport_audit_update_companies();
DROP FUNCTION rapport_audit_update_contacts();
DROP FUNCTION rapport_audit_update_campaigns();
DROP FUNCTION rapport_audit_update_leads();
DROP FUNCTION rapport_audit_update_conversations();
DROP FUNCTION rapport_audit_update_messages();
DROP FUNCTION rapport_audit_update_services();
DROP FUNCTION rapport_audit_update_staff();
DROP FUNCTION rapport_audit_update_bookings();
DROP FUNCTION rapport_audit_update_tasks();
DROP FUNCTION rapport_audit_update_notes();
DROP FUNCTION rapport_audit_update_decisions();
DROP FUNCTION rapport_audit_update_merges();
DROP FUNCTION rapport_audit_update_webhooks();
DROP FUNCTION rapport_audit_update_jobs();
DROP FUNCTION rapport_audit_update_imports();
DROP FUNCTION rapport_audit_omitted();
