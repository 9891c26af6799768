-- Takes out of the audit log what `undone` merges brought to their survivors, and what was taken away when they were undone: it
-- is of those who went into them. (Entries about the survivor are its own as well, so only those go that hold such a value, or
-- that tell of such a field between the two.) And what endpoints answered about the survivor meanwhile.
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
GRANT EXECUTE ON FUNCTION rapport_erase_merged(uuid[]) TO rapport_tenant;
