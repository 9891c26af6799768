-- The role stays: it belongs to the server, and other databases may use it.
ALTER VIEW business_users RESET (security_invoker);
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT polname, polrelid::regclass AS walled FROM pg_policy WHERE polname = 'wall' LOOP
        EXECUTE format('DROP POLICY %I ON %s', found.polname, found.walled);
        EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', found.walled);
    END LOOP;
END $$;
DROP FUNCTION rapport_forget_person(uuid);
DROP FUNCTION rapport_add_person(uuid, text, text);
DROP FUNCTION rapport_belongs_elsewhere(uuid);
DROP FUNCTION rapport_wall(regclass, text);
DROP FUNCTION rapport_business();
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM rapport_tenant;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM rapport_tenant;
REVOKE ALL ON SCHEMA public FROM rapport_tenant;
