DO $$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT tgname, tgrelid::regclass AS audited FROM pg_trigger WHERE NOT tgisinternal AND tgname LIKE 'audit\_%' LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', found.tgname, found.audited);
    END LOOP;
END $$;
DROP FUNCTION rapport_tell_export(uuid);
DROP FUNCTION rapport_erase_audit(uuid[]);
DROP FUNCTION rapport_audit(regclass, text, text);
DROP FUNCTION rapport_audited();
DROP TABLE audit_log;
