DO $$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT tgname, tgrelid::regclass AS audited FROM pg_trigger WHERE NOT tgisinternal AND tgname LIKE 'audit\_%' LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', found.tgname, found.audited);
    END LOOP;
END $$;
DROP FUNCTION rapport_audit_export(uuid);
DROP FUNCTION rapport_enable_audit(regclass, text, text);
DROP FUNCTION rapport_audit_trigger();
DROP TABLE audit_log;
