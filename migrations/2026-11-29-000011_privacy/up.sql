-- Erasure of personal data where the tenant's role cannot reach it: in the audit log, deliveries and imports.

-- Of the rows that are erased: takes their values out of the audit log, whose entries stay, and the endpoints' responses
-- about them out of the deliveries. The dispatcher shares the lock while it writes such a response, and writes none once the
-- erasure of the row is logged.
CREATE FUNCTION rapport_erase_audit(forgotten uuid[]) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE audit_log SET changes = '{}' WHERE business_id = rapport_business() AND row_id = ANY (forgotten) AND changes <> '{}';
    SELECT pg_advisory_xact_lock(rapport_webhook_lock(rapport_business()));
    UPDATE webhook_deliveries SET log = '{}' WHERE business_id = rapport_business() AND row_id = ANY (forgotten) AND log <> '{}'
$$;
REVOKE EXECUTE ON FUNCTION rapport_erase_audit(uuid[]) FROM PUBLIC;

-- Of merges that are undone: takes the values that they brought to their survivors out of the audit log, and out of the
-- deliveries the responses about the survivors meanwhile. The values belong to the merged rows. (Entries about a survivor are
-- its own as well, so only those are emptied that hold such a value, or that concern such a field between merge and undo.)
CREATE FUNCTION rapport_erase_merged(undone uuid[]) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE audit_log a SET changes = '{}' FROM merges m
    WHERE m.business_id = rapport_business() AND m.id = ANY (undone) AND a.business_id = m.business_id
      AND a.row_id = m.survivor_id AND a.created_at >= m.created_at AND a.changes <> '{}'
      AND EXISTS (SELECT FROM jsonb_each(m.changes) f WHERE a.changes ? f.key
          AND ((f.value -> 'new' NOT IN ('null', '[]', '{}')
                AND (a.changes -> f.key -> 'old' @> (f.value -> 'new') OR a.changes -> f.key -> 'new' @> (f.value -> 'new')))
               OR a.created_at <= coalesce(m.reverted_at, 'infinity')));
    UPDATE webhook_deliveries d SET log = '{}' FROM merges m
    WHERE m.business_id = rapport_business() AND m.id = ANY (undone) AND d.business_id = m.business_id
      AND d.row_id = m.survivor_id AND d.created_at >= m.created_at AND d.log <> '{}'
$$;
REVOKE EXECUTE ON FUNCTION rapport_erase_merged(uuid[]) FROM PUBLIC;

-- Takes values of the erased rows out of the results of imports, and deletes the files, whose refused or never imported rows
-- may name the person. The file of a running import stays; it is deleted with the others.
CREATE FUNCTION rapport_erase_imports(forgotten uuid[]) RETURNS void LANGUAGE sql SET search_path = public, pg_temp AS $$
    UPDATE import_row_results SET before = NULL WHERE business_id = rapport_business() AND row_id = ANY (forgotten) AND before IS NOT NULL;
    DELETE FROM import_row_results r USING imports i WHERE i.business_id = rapport_business() AND i.state = 'tried'
        AND r.business_id = i.business_id AND r.id = (left(i.run_id::text, 18) || '-0000-000000000000')::uuid;
    DELETE FROM import_chunks c WHERE c.business_id = rapport_business() AND NOT EXISTS (
        SELECT FROM imports i WHERE i.business_id = c.business_id AND i.id = c.import_id AND i.state IN ('trying', 'importing'));
$$;
REVOKE EXECUTE ON FUNCTION rapport_erase_imports(uuid[]) FROM PUBLIC;
