//! Reads the catalogue: one row for each object, with a state that is equal in two databases of the same migrations
//! whatever their server's release (15 to 18 print definitions alike; ids, order and owners of objects are left out).

use diesel::sql_types::Text;
use diesel::{PgConnection, QueryableByName};

use super::foreign_objects::{FOREIGN, Foreign};
use crate::base::error::Result;
use crate::db::Statement;

/// What must hold of an object in a database migrated by a newer release, while replicas of this release still run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnNewer {
    /// It exists; the newer release may define it differently.
    Exists,
    /// It exists and fires: the first letter of its state is the same.
    Fires,
    /// Nothing: the newer release may have changed or dropped it.
    Free,
}

/// A kind of object and how it is read from the catalogue.
pub struct ObjectKind {
    pub name: &'static str,
    /// Name, state, and the commands that create the object, as SQL expressions over `from`. The name begins with that
    /// of the object's table, and a dot or a blank.
    identity: &'static str,
    state: &'static str,
    make: &'static str,
    from: &'static str,
    /// Whether `rapport migrate` runs `make` when the object is missing or changed; only where that reads or writes no
    /// rows.
    pub repairable: bool,
    pub on_newer: OnNewer,
}

/// In repair order: dependencies come first.
pub const KINDS: [ObjectKind; 15] = [
    ObjectKind {
        name: "extension",
        identity: "x.extname::text",
        state: "''",
        make: "format('CREATE EXTENSION IF NOT EXISTS %I', x.extname)",
        from: "pg_extension x WHERE x.extname <> 'plpgsql'",
        repairable: true,
        on_newer: OnNewer::Exists,
    },
    ObjectKind {
        name: "table",
        identity: "o.relname::text",
        // Whether a crash empties it: the cache's epoch depends on that.
        state: "concat_ws(' ', CASE o.relpersistence WHEN 'u' THEN 'unlogged' ELSE 'logged' END, CASE o.relkind WHEN 'p' THEN 'partitioned' END)",
        make: "format('ALTER TABLE %I SET %s', o.relname, CASE o.relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE 'LOGGED' END)",
        from: "own o WHERE o.relkind IN ('r', 'p')",
        repairable: false,
        on_newer: OnNewer::Exists,
    },
    ObjectKind {
        name: "sequence",
        identity: "o.relname::text",
        // A crash resets an unlogged sequence to its first value; one owned by a column is dropped with the column.
        state: "concat_ws(' ', format_type(q.seqtypid, NULL), 'by', q.seqincrement, 'from', q.seqmin, 'to', q.seqmax, 'cache', q.seqcache,
                CASE WHEN q.seqcycle THEN 'cycle' END, CASE o.relpersistence WHEN 'u' THEN 'unlogged' END,
                (SELECT 'owned by ' || d.refobjid::regclass FROM pg_depend d
                 WHERE d.classid = 'pg_class'::regclass AND d.objid = o.oid AND d.deptype IN ('a', 'i')))",
        // Not its position: nothing depends on it but the order of changes that follow each other.
        make: "format('CREATE SEQUENCE IF NOT EXISTS %1$I; ALTER SEQUENCE %1$I AS %2$s INCREMENT %3$s MINVALUE %4$s MAXVALUE %5$s CACHE %6$s %7$s OWNED BY NONE; ALTER SEQUENCE %1$I SET LOGGED',
               o.relname, format_type(q.seqtypid, NULL), q.seqincrement, q.seqmin, q.seqmax, q.seqcache,
               CASE WHEN q.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END)",
        from: "own o JOIN pg_sequence q ON q.seqrelid = o.oid",
        repairable: true,
        on_newer: OnNewer::Exists,
    },
    ObjectKind {
        name: "column",
        identity: "o.relname || '.' || a.attname",
        state: "concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
                (SELECT 'COLLATE ' || l.collname FROM pg_collation l WHERE l.oid = a.attcollation AND l.collname <> 'default'),
                CASE WHEN a.attgenerated = 's' THEN 'GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || ') STORED' END)",
        make: "concat_ws('; ', format('ALTER TABLE %I ADD COLUMN IF NOT EXISTS %I %s%s%s', o.relname, a.attname,
                   format_type(a.atttypid, a.atttypmod),
                   CASE WHEN a.attgenerated = 's' THEN ' GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || ') STORED'
                        ELSE ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) END,
                   CASE WHEN a.attnotnull THEN ' NOT NULL' END),
               CASE WHEN a.attgenerated = '' THEN format('ALTER TABLE %1$I ALTER COLUMN %2$I TYPE %3$s; ALTER TABLE %1$I ALTER COLUMN %2$I %4$s NOT NULL',
                   o.relname, a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'SET' ELSE 'DROP' END) END)",
        from: "own o JOIN pg_attribute a ON a.attrelid = o.oid LEFT JOIN pg_attrdef d ON d.adrelid = o.oid AND d.adnum = a.attnum
               WHERE o.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped",
        repairable: false,
        on_newer: OnNewer::Exists,
    },
    ObjectKind {
        name: "function",
        identity: "f.oid::regprocedure::text",
        state: "concat_ws(' ', md5(f.prosrc), l.lanname, format_type(f.prorettype, NULL), f.provolatile::text, f.proparallel::text,
                CASE WHEN f.prosecdef THEN 'definer' END, CASE WHEN f.proisstrict THEN 'strict' END,
                CASE WHEN f.proretset THEN 'set' END, array_to_string(f.proconfig, '; '))",
        make: "pg_get_functiondef(f.oid)",
        from: "functions f JOIN pg_language l ON l.oid = f.prolang",
        repairable: true,
        on_newer: OnNewer::Exists,
    },
    ObjectKind {
        name: "default",
        identity: "o.relname || '.' || a.attname",
        state: "pg_get_expr(d.adbin, d.adrelid)",
        make: "format('ALTER TABLE %I ALTER COLUMN %I SET DEFAULT %s', o.relname, a.attname, pg_get_expr(d.adbin, d.adrelid))",
        from: "own o JOIN pg_attrdef d ON d.adrelid = o.oid JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum = d.adnum
               WHERE a.attgenerated = ''",
        repairable: true,
        on_newer: OnNewer::Free,
    },
    ObjectKind {
        name: "view",
        identity: "o.relname::text",
        state: "concat_ws(' ', array_to_string(o.reloptions, ' '), pg_get_viewdef(o.oid))",
        make: "format('CREATE OR REPLACE VIEW %I WITH (%s) AS %s', o.relname, array_to_string(o.reloptions, ', '),
               rtrim(pg_get_viewdef(o.oid), ';'))",
        from: "own o WHERE o.relkind = 'v'",
        repairable: true,
        on_newer: OnNewer::Exists,
    },
    ObjectKind {
        name: "constraint",
        identity: "o.relname || '.' || k.conname",
        // `DISABLE TRIGGER ALL` turns its triggers off without changing its definition; rows that violate it may then
        // exist.
        state: "pg_get_constraintdef(k.oid) || CASE WHEN EXISTS (SELECT FROM pg_trigger t WHERE t.tgconstraint = k.oid AND t.tgenabled = 'D')
                THEN ' DISABLED' ELSE '' END",
        make: "format('ALTER TABLE %1$I DROP CONSTRAINT IF EXISTS %2$I, ADD CONSTRAINT %2$I %3$s', o.relname, k.conname,
               pg_get_constraintdef(k.oid))",
        // PostgreSQL 18 lists NOT NULL here too, which columns already include.
        from: "own o JOIN pg_constraint k ON k.conrelid = o.oid WHERE k.contype IN ('p', 'u', 'x', 'f', 'c')",
        repairable: false,
        on_newer: OnNewer::Free,
    },
    ObjectKind {
        name: "index",
        identity: "o.relname || '.' || i.relname",
        // pg_get_indexdef would take half of the whole query's time, so the parts are compared.
        state: "concat_ws(' ', CASE WHEN x.indisunique THEN 'unique' END, m.amname::text,
                '(' || (SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = i.oid) || ')',
                CASE WHEN x.indpred IS NULL THEN NULL WHEN x.indisunique THEN 'WHERE ' || pg_get_expr(x.indpred, x.indrelid)
                     ELSE 'partial' END, CASE WHEN NOT x.indisvalid THEN 'invalid' END)",
        make: "format('DROP INDEX CONCURRENTLY IF EXISTS %I; %s', i.relname,
               regexp_replace(regexp_replace(pg_get_indexdef(i.oid), 'INDEX', 'INDEX CONCURRENTLY'), E'\\n *', ' ', 'g'))",
        from: "own o JOIN pg_index x ON x.indrelid = o.oid JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam
               WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.oid AND k.contype IN ('p', 'u', 'x'))",
        repairable: false,
        on_newer: OnNewer::Free,
    },
    ObjectKind {
        name: "row level security",
        identity: "o.relname::text",
        // Forced row-level security would apply the policies to the tables' owner, as which the service reads.
        state: "CASE WHEN o.relforcerowsecurity THEN 'forced' ELSE '' END",
        make: "format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', o.relname)",
        from: "own o WHERE o.relrowsecurity",
        repairable: true,
        on_newer: OnNewer::Exists,
    },
    ObjectKind {
        name: "policy",
        identity: "o.relname || '.' || p.polname",
        state: "concat_ws(' ', CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END, p.polcmd::text,
                'TO ' || (SELECT string_agg(CASE r WHEN 0 THEN 'public' ELSE pg_get_userbyid(r) END, ', ') FROM unnest(p.polroles) r),
                'USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
                'WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')')",
        make: "format('DROP POLICY IF EXISTS %1$I ON %2$I; ', p.polname, o.relname) || concat_ws(' ',
               format('CREATE POLICY %1$I ON %2$I', p.polname, o.relname),
               CASE WHEN NOT p.polpermissive THEN 'AS RESTRICTIVE' END,
               CASE p.polcmd WHEN 'r' THEN 'FOR SELECT' WHEN 'a' THEN 'FOR INSERT' WHEN 'w' THEN 'FOR UPDATE' WHEN 'd' THEN 'FOR DELETE' END,
               'TO ' || (SELECT string_agg(CASE r WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(r)) END, ', ')
                         FROM unnest(p.polroles) r),
               'USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
               'WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')')",
        from: "own o JOIN pg_policy p ON p.polrelid = o.oid",
        repairable: true,
        on_newer: OnNewer::Exists,
    },
    ObjectKind {
        name: "execute",
        identity: "f.oid::regprocedure::text",
        // Functions that run with the owner's rights must not be callable by everyone.
        state: "concat_ws(', ', CASE WHEN f.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(f.proacl) e WHERE e.grantee = 0) THEN 'public' END,
                CASE WHEN EXISTS (SELECT FROM aclexplode(f.proacl) e WHERE e.grantee = to_regrole('rapport_tenant')) THEN 'rapport_tenant' END)",
        make: "concat_ws('; ',
               CASE WHEN f.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(f.proacl) e WHERE e.grantee = 0)
                    THEN format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', f.oid::regprocedure)
                    ELSE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f.oid::regprocedure) END,
               CASE WHEN EXISTS (SELECT FROM aclexplode(f.proacl) e WHERE e.grantee = to_regrole('rapport_tenant'))
                    THEN format('GRANT EXECUTE ON FUNCTION %s TO rapport_tenant', f.oid::regprocedure) END)",
        from: "functions f",
        repairable: true,
        on_newer: OnNewer::Free,
    },
    ObjectKind {
        name: "grant",
        identity: "o.relname || ' ' || e.privilege_type",
        state: "''",
        make: "format('GRANT %s ON %s %I TO rapport_tenant', e.privilege_type, CASE o.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, o.relname)",
        from: "own o, aclexplode(o.relacl) e WHERE e.grantee = to_regrole('rapport_tenant')",
        repairable: true,
        on_newer: OnNewer::Exists,
    },
    ObjectKind {
        name: "schema grant",
        identity: "n.nspname || ' ' || e.privilege_type",
        state: "''",
        make: "format('GRANT %s ON SCHEMA %I TO rapport_tenant', e.privilege_type, n.nspname)",
        from: "pg_namespace n, aclexplode(n.nspacl) e WHERE n.nspname = 'public' AND e.grantee = to_regrole('rapport_tenant')",
        repairable: true,
        on_newer: OnNewer::Exists,
    },
    ObjectKind {
        name: "trigger",
        identity: "o.relname || '.' || t.tgname",
        state: "t.tgenabled::text || ' ' || pg_get_triggerdef(t.oid)",
        make: "format('DROP TRIGGER IF EXISTS %1$I ON %2$I; %3$s; ALTER TABLE %2$I %4$s TRIGGER %1$I', t.tgname, o.relname,
               pg_get_triggerdef(t.oid), CASE t.tgenabled WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE' END)",
        from: "own o JOIN pg_trigger t ON t.tgrelid = o.oid WHERE NOT t.tgisinternal",
        repairable: true,
        on_newer: OnNewer::Fires,
    },
];

/// Rapport's objects in the schema `public`: neither an extension's nor diesel's.
const OWN: &str = "
WITH own AS (
    SELECT c.oid, c.relname, c.relkind, c.relpersistence, c.relispartition, c.relrowsecurity, c.relforcerowsecurity, c.reloptions, c.relacl, c.relowner FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S') AND c.relname <> '__diesel_schema_migrations'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
), functions AS (
    SELECT p.* FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
)";

/// A catalogue object.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName, serde::Deserialize, serde::Serialize)]
pub struct Object {
    /// One of [`KINDS`] or of [`FOREIGN`].
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Commands that create or recreate it; empty where only a backup can restore it.
    #[diesel(sql_type = Text)]
    pub make: String,
}

/// Returns every object, without the commands that create it, which cost more than all the rest. For [`FOREIGN`]
/// objects, the state is the problem and `make` the remedy.
pub fn read(conn: &mut PgConnection) -> Result<Vec<Object>> {
    let mut sql = Statement::new(OWN);
    select_kinds(&mut sql, |_| "''");
    for Foreign { name, identity, problem, remedy, from, .. } in &FOREIGN {
        sql.sql(UNION);
        select_objects(&mut sql, name, [identity, problem, remedy], from);
    }
    Ok(sql.load(conn)?)
}

/// Returns every object with the commands that create it, ordered: the content of [`super::expected`].
pub fn describe(conn: &mut PgConnection) -> Result<Vec<Object>> {
    let mut sql = Statement::new(OWN);
    select_kinds(&mut sql, |kind| kind.make);
    let mut objects = sql.load::<Object>(conn)?;
    let rank = |object: &Object| KINDS.iter().position(|kind| kind.name == object.kind);
    // Unique keys come before the foreign keys that reference them.
    let leads_elsewhere = |object: &Object| object.kind == "constraint" && object.state.starts_with("FOREIGN KEY");
    objects.sort_by(|a, b| (rank(a), leads_elsewhere(a), &a.name).cmp(&(rank(b), leads_elsewhere(b), &b.name)));
    Ok(objects)
}

const UNION: &str = "\nUNION ALL\n";

/// Appends the selection of all objects of [`KINDS`]; `make` is the SQL expression of an object's commands.
fn select_kinds(sql: &mut Statement, make: impl Fn(&ObjectKind) -> &'static str) {
    for (place, kind) in KINDS.iter().enumerate() {
        sql.sql(if place == 0 { " " } else { UNION });
        select_objects(sql, kind.name, [kind.identity, kind.state, make(kind)], kind.from);
    }
}

/// Appends the selection of one kind's [`Object`]s. PostgreSQL has no definition of an object that another session drops
/// meanwhile; its state and commands are empty then.
fn select_objects(
    sql: &mut Statement,
    kind: &'static str,
    [identity, state, make]: [&'static str; 3],
    from: &'static str,
) {
    sql.sql("SELECT ").literal(kind).sql(" AS kind, ").sql(identity).sql(" AS name, coalesce(").sql(state);
    sql.sql(", '') AS state, coalesce(").sql(make).sql(", '') AS make FROM ").sql(from);
}
