-- As in 4_audit.
CREATE OR REPLACE FUNCTION rapport_audited() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
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
DROP FUNCTION rapport_trim_events(timestamptz, integer);
DROP FUNCTION rapport_order_events(integer);
DROP TABLE events, event_queue;
DROP SEQUENCE event_places;
