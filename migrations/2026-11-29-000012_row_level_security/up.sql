-- Row-level security (docs/SECURITY.md), for the role under which the service works for one business. Each statement of the
-- service has a tenant predicate of its own; the policies hold where one was forgotten.
--
-- The service logs in as the owner of the tables, whom policies do not hold: signing in, credentials and migrations belong to
-- no business. For the work of one it sends `SET LOCAL ROLE rapport_tenant` and `SET LOCAL rapport.business` in the message
-- that begins the transaction.

-- Roles belong to the whole server, where another database may have this one already.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rapport_tenant') THEN
        BEGIN
            CREATE ROLE rapport_tenant NOLOGIN NOINHERIT;
        EXCEPTION
            -- Another database's migration was faster.
            WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;
    -- From PostgreSQL 16 on, the creator of a role may grant it, and may take it on only once it is granted.
    IF NOT pg_has_role(current_user, 'rapport_tenant',
                       CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) THEN
        EXECUTE format('GRANT rapport_tenant TO %I', current_user);
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION '% may not make the role rapport_tenant or take it on', current_user
        USING HINT = format('As an administrator: CREATE ROLE rapport_tenant NOLOGIN NOINHERIT (unless it is there); GRANT rapport_tenant TO %I;', current_user);
END $$;
-- Fails here and not with the first write where the role cannot be taken on.
SET LOCAL ROLE rapport_tenant;
RESET ROLE;
GRANT USAGE ON SCHEMA public TO rapport_tenant;

-- Confines a table to the rows of the business of the transaction; `granted` are the rights of the tenant's role.
CREATE FUNCTION rapport_enable_tenant_rls(tenant_table regclass, granted text DEFAULT 'SELECT, INSERT, UPDATE, DELETE') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', tenant_table);
    -- A subquery is evaluated once and not for each row.
    EXECUTE format('CREATE POLICY tenant_isolation ON %s TO rapport_tenant USING (business_id = (SELECT rapport_business()))', tenant_table);
    EXECUTE format('GRANT %s ON %s TO rapport_tenant', granted, tenant_table);
END $$;

-- One line for each table of a tenant.
SELECT rapport_enable_tenant_rls('memberships');
SELECT rapport_enable_tenant_rls('api_keys');
SELECT rapport_enable_tenant_rls('sessions', 'SELECT, DELETE');
-- sessions are renewed by the owner of the tables only
SELECT rapport_enable_tenant_rls('refresh_tokens', 'REFERENCES');
SELECT rapport_enable_tenant_rls('invitations');
SELECT rapport_enable_tenant_rls('companies');
SELECT rapport_enable_tenant_rls('contacts');
SELECT rapport_enable_tenant_rls('campaigns');
SELECT rapport_enable_tenant_rls('leads');
SELECT rapport_enable_tenant_rls('conversations');
SELECT rapport_enable_tenant_rls('messages');
SELECT rapport_enable_tenant_rls('services');
SELECT rapport_enable_tenant_rls('staff');
SELECT rapport_enable_tenant_rls('bookings');
SELECT rapport_enable_tenant_rls('tasks');
SELECT rapport_enable_tenant_rls('notes');
SELECT rapport_enable_tenant_rls('decisions');
SELECT rapport_enable_tenant_rls('merges');
-- triggers write it as its owner
SELECT rapport_enable_tenant_rls('audit_log', 'SELECT');
-- the sequencer writes them for all businesses
SELECT rapport_enable_tenant_rls('events', 'SELECT');
SELECT rapport_enable_tenant_rls('webhooks');
-- deleted webhooks' deliveries are purged for all businesses at once
SELECT rapport_enable_tenant_rls('webhook_deliveries', 'SELECT, INSERT, UPDATE');
SELECT rapport_enable_tenant_rls('jobs');
SELECT rapport_enable_tenant_rls('job_runs');
-- purged for all businesses at once
SELECT rapport_enable_tenant_rls('idempotency_keys', 'SELECT, INSERT, UPDATE');
SELECT rapport_enable_tenant_rls('imports');
SELECT rapport_enable_tenant_rls('import_chunks');
SELECT rapport_enable_tenant_rls('import_row_results');

-- The business itself, by its id.
ALTER TABLE businesses ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON businesses TO rapport_tenant USING (id = (SELECT rapport_business()));
GRANT SELECT, UPDATE ON businesses TO rapport_tenant;

-- Members are read and changed. Passwords are out of reach.
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON users TO rapport_tenant
    USING (EXISTS (SELECT FROM memberships m WHERE m.user_id = users.id AND m.business_id = (SELECT rapport_business())));
GRANT SELECT, UPDATE ON users TO rapport_tenant;
GRANT SELECT ON business_users TO rapport_tenant;

-- The triggers of a writer move versions as that writer; they never delete one.
GRANT SELECT, INSERT, UPDATE ON cache_versions TO rapport_tenant;
GRANT USAGE ON SEQUENCE cache_version_values, cache_version_slots TO rapport_tenant;

-- Functions that are not for everybody, and that the service calls as the tenant.
GRANT EXECUTE ON FUNCTION
    rapport_belongs_elsewhere(uuid), rapport_add_person(uuid, text, text), rapport_erase_user(uuid),
    rapport_company_of(text), rapport_contact_of(text),
    rapport_contacts_like(text, text, text, uuid, text), rapport_companies_like(text, text, text, text),
    rapport_import_matches(text, text, text[], text[]), rapport_analyze_grown(text[], bigint),
    rapport_audit_export(uuid), rapport_erase_audit(uuid[]), rapport_erase_merged(uuid[]), rapport_erase_imports(uuid[])
TO rapport_tenant;
