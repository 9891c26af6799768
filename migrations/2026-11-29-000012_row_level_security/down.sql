-- The role stays: it belongs to the server, and other databases may use it.
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT polname, polrelid::regclass AS tenant_table FROM pg_policy WHERE polname = 'tenant_isolation' LOOP
        EXECUTE format('DROP POLICY %I ON %s', found.polname, found.tenant_table);
        EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', found.tenant_table);
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION
    rapport_belongs_elsewhere(uuid), rapport_add_person(uuid, text, text), rapport_erase_user(uuid),
    rapport_company_of(text), rapport_contact_of(text),
    rapport_contacts_like(text, text, text, uuid, text), rapport_companies_like(text, text, text, text),
    rapport_import_matches(text, text, text[], text[]), rapport_analyze_grown(text[], bigint),
    rapport_audit_export(uuid), rapport_erase_audit(uuid[]), rapport_erase_merged(uuid[]), rapport_erase_imports(uuid[])
FROM rapport_tenant;
DROP FUNCTION rapport_enable_tenant_rls(regclass, text);
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM rapport_tenant;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM rapport_tenant;
REVOKE ALL ON SCHEMA public FROM rapport_tenant;
