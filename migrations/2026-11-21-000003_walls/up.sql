-- The second wall between businesses (docs/SECURITY.md): row-level security for the role under which the service does the
-- work of one business. The first wall is the predicate in each statement; this one holds where it was forgotten.
--
-- The service logs in as the owner of the tables, whom row-level security does not hold: signing in, credentials and
-- migrations belong to no business. For the work of one it says, in the message that begins the transaction,
-- `SET LOCAL ROLE rapport_tenant` and `SET LOCAL rapport.business`.

-- Roles belong to the whole server, where other databases may have this one already.
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
    -- Whoever makes a role may hand it out from PostgreSQL 16 on, and only then take it on.
    IF NOT pg_has_role(current_user, 'rapport_tenant',
                       CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) THEN
        EXECUTE format('GRANT rapport_tenant TO %I', current_user);
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION '% may not make the role rapport_tenant or take it on', current_user
        USING HINT = format('As an administrator: CREATE ROLE rapport_tenant NOLOGIN NOINHERIT (unless it is there); GRANT rapport_tenant TO %I;', current_user);
END $$;
-- Tried now, and not by the first write.
SET LOCAL ROLE rapport_tenant;
RESET ROLE;
GRANT USAGE ON SCHEMA public TO rapport_tenant;

-- The business that the transaction is confined to; none: no rows.
CREATE FUNCTION rapport_business() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT nullif(current_setting('rapport.business', true), '')::uuid $$;

-- Confines `walled` to the rows of that business, of which the service may do `granted`.
CREATE FUNCTION rapport_wall(walled regclass, granted text DEFAULT 'SELECT, INSERT, UPDATE, DELETE') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', walled);
    -- As a subquery, so that it is asked once and not for each row.
    EXECUTE format('CREATE POLICY wall ON %s TO rapport_tenant USING (business_id = (SELECT rapport_business()))', walled);
    EXECUTE format('GRANT %s ON %s TO rapport_tenant', granted, walled);
END $$;

-- One line for each table of a business.
SELECT rapport_wall('memberships');
SELECT rapport_wall('api_keys');
SELECT rapport_wall('sessions', 'SELECT, DELETE');
-- how a session is renewed is nobody's business but the service's
SELECT rapport_wall('refresh_tokens', 'REFERENCES');
SELECT rapport_wall('companies');
SELECT rapport_wall('contacts');
SELECT rapport_wall('campaigns');
SELECT rapport_wall('leads');
SELECT rapport_wall('conversations');
SELECT rapport_wall('messages');
SELECT rapport_wall('services');
SELECT rapport_wall('staff');
SELECT rapport_wall('bookings');
SELECT rapport_wall('tasks');
SELECT rapport_wall('notes');

-- The business itself.
ALTER TABLE businesses ENABLE ROW LEVEL SECURITY;
CREATE POLICY wall ON businesses TO rapport_tenant USING (id = (SELECT rapport_business()));
GRANT SELECT, UPDATE ON businesses TO rapport_tenant;

-- People: members are seen and changed. Passwords are out of reach.
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE POLICY wall ON users TO rapport_tenant
    USING (EXISTS (SELECT FROM memberships m WHERE m.user_id = users.id AND m.business_id = (SELECT rapport_business())));
GRANT SELECT, UPDATE ON users TO rapport_tenant;
ALTER VIEW business_users SET (security_invoker = true);
GRANT SELECT ON business_users TO rapport_tenant;

-- What must be known beyond the wall about people who belong to several businesses.
CREATE FUNCTION rapport_belongs_elsewhere(person uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    $$ SELECT EXISTS (SELECT FROM memberships WHERE user_id = person AND business_id IS DISTINCT FROM rapport_business()) $$;

-- Adds a person, unless someone has the address already; whether it did.
CREATE FUNCTION rapport_add_person(person uuid, address text, called text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO users (id, email, name) VALUES (person, address, called) ON CONFLICT (lower(email)) DO NOTHING;
    RETURN FOUND;
END $$;

-- Removes a person who belongs to no business any more.
CREATE FUNCTION rapport_forget_person(person uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
    $$ DELETE FROM users WHERE id = person AND NOT EXISTS (SELECT FROM memberships m WHERE m.user_id = users.id) $$;

REVOKE EXECUTE ON FUNCTION rapport_belongs_elsewhere(uuid), rapport_add_person(uuid, text, text), rapport_forget_person(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rapport_belongs_elsewhere(uuid), rapport_add_person(uuid, text, text), rapport_forget_person(uuid) TO rapport_tenant;

-- Versions are moved by the triggers of whoever writes; they are never deleted.
GRANT SELECT, INSERT, UPDATE ON cache_versions TO rapport_tenant;
GRANT USAGE ON SEQUENCE cache_version_values, cache_version_slots TO rapport_tenant;
