DO $$
DECLARE
    named text;
BEGIN
    FOREACH named IN ARRAY ARRAY['leads', 'conversations', 'bookings', 'campaigns', 'services', 'staff', 'tasks', 'notes'] LOOP
        EXECUTE format('ALTER TABLE %I DROP COLUMN external_id', named);
    END LOOP;
END $$;

DO $$
DECLARE
    known constant text := pg_get_functiondef('rapport_audited()'::regprocedure);
    better constant text := replace(known, 'b ON a.id = b.id OFFSET 0) changing', 'b ON a.id = b.id) changing');
BEGIN
    IF better = known THEN
        RAISE EXCEPTION 'rapport_audited is not what this migration knows';
    END IF;
    EXECUTE better;
END $$;
