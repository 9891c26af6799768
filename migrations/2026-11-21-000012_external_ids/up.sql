-- The id that a row has in the system it came from, for every noun of the CRM, as companies and contacts have it: what an
-- upsert can go by. Unique in the business among living rows.
DO $$
DECLARE
    named text;
BEGIN
    FOREACH named IN ARRAY ARRAY['leads', 'conversations', 'bookings', 'campaigns', 'services', 'staff', 'tasks', 'notes'] LOOP
        EXECUTE format('ALTER TABLE %I ADD COLUMN external_id text', named);
        -- rows without one, which are most, are not in it: they cost their writers nothing
        EXECUTE format('CREATE UNIQUE INDEX %I ON %I (business_id, external_id) WHERE external_id IS NOT NULL AND deleted_at IS NULL',
            named || '_external_id_key', named);
    END LOOP;
END $$;

-- What tells of changes made each row JSON again for each of its fields, which was half of all that it took: OFFSET 0 keeps
-- what was made. As it is by now, whichever migration wrote it last.
DO $$
DECLARE
    known constant text := pg_get_functiondef('rapport_audited()'::regprocedure);
    better constant text := replace(known, 'b ON a.id = b.id) changing', 'b ON a.id = b.id OFFSET 0) changing');
BEGIN
    IF better = known THEN
        RAISE EXCEPTION 'rapport_audited is not what this migration knows';
    END IF;
    EXECUTE better;
END $$;
