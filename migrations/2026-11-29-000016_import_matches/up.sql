-- Of a business that is not in a table's statistics PostgreSQL expects one row, and then takes any index that begins with the
-- business: each look-up of an import read all rows that the import had made. A subquery hides which business it is, so that
-- the average of all businesses counts.
CREATE OR REPLACE FUNCTION rapport_import_matches(wanted text, field text, keys text[], owns text[] DEFAULT '{}') RETURNS TABLE (place bigint, id uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    one constant text := CASE wanted || '.' || field
        WHEN 'contacts.external_id' THEN
            'SELECT c.id FROM contacts c WHERE c.business_id = (SELECT $1) AND c.external_id = k.key AND c.deleted_at IS NULL OFFSET 0'
        WHEN 'contacts.email' THEN
            'SELECT c.id FROM contacts c WHERE c.business_id = (SELECT $1) AND lower(c.email) = lower(k.key) AND c.deleted_at IS NULL OFFSET 0'
        WHEN 'contacts.phone' THEN
            'SELECT c.id FROM contacts c WHERE c.business_id = (SELECT $1) AND c.phone = k.key AND c.deleted_at IS NULL AND (c.external_id IS NULL OR position(''i'' IN k.own) = 0) AND (c.email IS NULL OR position(''u'' IN k.own) = 0) ORDER BY c.created_at, c.id LIMIT 200'
        -- A range of the index of `sort_name`, which is the names followed by the e-mail address.
        WHEN 'contacts.name' THEN
            'SELECT c.id FROM contacts c WHERE c.business_id = (SELECT $1) AND c.sort_name COLLATE "C" >= lower(k.key) COLLATE "C" AND c.sort_name COLLATE "C" < (lower(k.key) || chr(1114111)) COLLATE "C" AND c.deleted_at IS NULL AND (c.external_id IS NULL OR position(''i'' IN k.own) = 0) AND (c.email IS NULL OR position(''u'' IN k.own) = 0) ORDER BY c.sort_name COLLATE "C", c.id LIMIT 200'
        WHEN 'companies.external_id' THEN
            'SELECT c.id FROM companies c WHERE c.business_id = (SELECT $1) AND c.external_id = k.key AND c.deleted_at IS NULL OFFSET 0'
        WHEN 'companies.domain' THEN
            'SELECT c.id FROM companies c WHERE c.business_id = (SELECT $1) AND lower(c.domain) = lower(k.key) AND c.deleted_at IS NULL OFFSET 0'
        WHEN 'companies.name' THEN
            'SELECT c.id FROM companies c WHERE c.business_id = (SELECT $1) AND lower(c.name) COLLATE "C" = lower(k.key) COLLATE "C" AND c.deleted_at IS NULL AND (c.external_id IS NULL OR position(''i'' IN k.own) = 0) AND (c.domain IS NULL OR position(''u'' IN k.own) = 0) ORDER BY lower(c.name) COLLATE "C", c.id LIMIT 200'
    END;
BEGIN
    RETURN QUERY EXECUTE 'SELECT k.place - 1, t.id FROM unnest($2, $3) WITH ORDINALITY k (key, own, place), LATERAL (' || one || ') t'
    USING rapport_business(), keys, owns;
END $$;
