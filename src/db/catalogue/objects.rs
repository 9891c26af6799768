//! Reads the catalogue: one row for each object, with a state that two databases of the same migrations share whatever
//! their server's release (15 to 18 write definitions alike; no number, order or owner of objects is part of it).

use diesel::PgConnection;

use crate::db::Statement;
use crate::error::Result;

/// What must hold of an object on a database that a newer release has migrated, while replicas of this one still serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnNewer {
    /// It is there; how it is made is the newer release's choice.
    Exists,
    /// It is there, and fires: the first letter of its state is the same.
    Fires,
    /// Nothing: the newer release may have changed or dropped it.
    Free,
}

/// A kind of object and how it is read from the catalogue.
pub struct Kind {
    pub name: &'static str,
    /// Name, state, and the commands that make it, as SQL expressions over `from`. The name begins with that of the table
    /// that the object belongs to, and a dot or a blank.
    identity: &'static str,
    state: &'static str,
    make: &'static str,
    from: &'static str,
    /// Whether `rapport migrate` runs `make` when the object is missing or changed: no rows are read or written by it.
    pub repairable: bool,
    pub on_newer: OnNewer,
}

/// In the order in which they are repaired: what others need comes first.
pub const KINDS: [Kind; 15] = [
    Kind {
        name: "extension",
        identity: "x.extname::text",
        state: "''",
        make: "format('CREATE EXTENSION IF NOT EXISTS %I', x.extname)",
        from: "pg_extension x WHERE x.extname <> 'plpgsql'",
        repairable: true,
        on_newer: OnNewer::Exists,
    },
    Kind {
        name: "table",
        identity: "o.relname::text",
        // Whether a crash empties it: the cache's epoch rests on that.
        state: "CASE o.relpersistence WHEN 'u' THEN 'unlogged' ELSE 'logged' END",
        make: "format('ALTER TABLE %I SET %s', o.relname, CASE o.relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE 'LOGGED' END)",
        from: "own o WHERE o.relkind IN ('r', 'p')",
        repairable: false,
        on_newer: OnNewer::Exists,
    },
    Kind {
        name: "sequence",
        identity: "o.relname::text",
        state: "''",
        make: "''",
        from: "own o WHERE o.relkind = 'S'",
        repairable: false,
        on_newer: OnNewer::Exists,
    },
    Kind {
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
    Kind {
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
    Kind {
        name: "default",
        identity: "o.relname || '.' || a.attname",
        state: "pg_get_expr(d.adbin, d.adrelid)",
        make: "format('ALTER TABLE %I ALTER COLUMN %I SET DEFAULT %s', o.relname, a.attname, pg_get_expr(d.adbin, d.adrelid))",
        from: "own o JOIN pg_attrdef d ON d.adrelid = o.oid JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum = d.adnum
               WHERE a.attgenerated = ''",
        repairable: true,
        on_newer: OnNewer::Free,
    },
    Kind {
        name: "view",
        identity: "o.relname::text",
        state: "concat_ws(' ', array_to_string(o.reloptions, ' '), pg_get_viewdef(o.oid))",
        make: "format('CREATE OR REPLACE VIEW %I WITH (%s) AS %s', o.relname, array_to_string(o.reloptions, ', '),
               rtrim(pg_get_viewdef(o.oid), ';'))",
        from: "own o WHERE o.relkind = 'v'",
        repairable: true,
        on_newer: OnNewer::Exists,
    },
    Kind {
        name: "constraint",
        identity: "o.relname || '.' || k.conname",
        // Its triggers may be off while it looks whole (`DISABLE TRIGGER ALL`): rows that it forbids may be there by then.
        state: "pg_get_constraintdef(k.oid) || CASE WHEN EXISTS (SELECT FROM pg_trigger t WHERE t.tgconstraint = k.oid AND t.tgenabled = 'D')
                THEN ' DISABLED' ELSE '' END",
        make: "format('ALTER TABLE %1$I DROP CONSTRAINT IF EXISTS %2$I, ADD CONSTRAINT %2$I %3$s', o.relname, k.conname,
               pg_get_constraintdef(k.oid))",
        // PostgreSQL 18 lists NOT NULL here too; columns have it already.
        from: "own o JOIN pg_constraint k ON k.conrelid = o.oid WHERE k.contype IN ('p', 'u', 'x', 'f', 'c')",
        repairable: false,
        on_newer: OnNewer::Free,
    },
    Kind {
        name: "index",
        identity: "o.relname || '.' || i.relname",
        // pg_get_indexdef takes half of the time of all this, so the parts are compared.
        state: "concat_ws(' ', CASE WHEN x.indisunique THEN 'unique' END, m.amname::text,
                '(' || (SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = i.oid) || ')',
                CASE WHEN x.indpred IS NULL THEN NULL WHEN x.indisunique THEN 'WHERE ' || pg_get_expr(x.indpred, x.indrelid)
                     ELSE 'partial' END, CASE WHEN NOT x.indisvalid THEN 'invalid' END)",
        make: "format('DROP INDEX CONCURRENTLY IF EXISTS %I; %s', i.relname,
               regexp_replace(pg_get_indexdef(i.oid), 'INDEX', 'INDEX CONCURRENTLY'))",
        from: "own o JOIN pg_index x ON x.indrelid = o.oid JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam
               WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.oid AND k.contype IN ('p', 'u', 'x'))",
        repairable: false,
        on_newer: OnNewer::Free,
    },
    Kind {
        name: "row level security",
        identity: "o.relname::text",
        // Forced, it would hold the tables' owner, as which the service reads, to policies that are not for it.
        state: "CASE WHEN o.relforcerowsecurity THEN 'forced' ELSE '' END",
        make: "format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', o.relname)",
        from: "own o WHERE o.relrowsecurity",
        repairable: true,
        on_newer: OnNewer::Exists,
    },
    Kind {
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
    Kind {
        name: "execute",
        identity: "f.oid::regprocedure::text",
        // Who may call it: of functions with the owner's rights that must not be everybody.
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
    Kind {
        name: "grant",
        identity: "o.relname || ' ' || e.privilege_type",
        state: "''",
        make: "format('GRANT %s ON %s %I TO rapport_tenant', e.privilege_type, CASE o.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, o.relname)",
        from: "own o, aclexplode(o.relacl) e WHERE e.grantee = to_regrole('rapport_tenant')",
        repairable: true,
        on_newer: OnNewer::Exists,
    },
    Kind {
        name: "schema grant",
        identity: "n.nspname || ' ' || e.privilege_type",
        state: "''",
        make: "format('GRANT %s ON SCHEMA %I TO rapport_tenant', e.privilege_type, n.nspname)",
        from: "pg_namespace n, aclexplode(n.nspacl) e WHERE n.nspname = 'public' AND e.grantee = to_regrole('rapport_tenant')",
        repairable: true,
        on_newer: OnNewer::Exists,
    },
    Kind {
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

/// What is Rapport's in the schema `public`: neither an extension's nor diesel's.
const OWN: &str = "
WITH own AS (
    SELECT c.oid, c.relname, c.relkind, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity, c.reloptions, c.relacl, c.relowner FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S') AND c.relname <> '__diesel_schema_migrations'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
), functions AS (
    SELECT p.* FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
)";

/// Objects of which the one that is logged in may not do what owners may; none on a database that it has migrated.
const FOREIGN: &str = "
SELECT 'owner', format('TABLE %I', o.relname), pg_get_userbyid(o.relowner)::text, ''
FROM own o WHERE o.relkind IN ('r', 'p') AND NOT pg_has_role(o.relowner, 'USAGE')
UNION ALL
SELECT 'owner', format('FUNCTION %s', f.oid::regprocedure), pg_get_userbyid(f.proowner)::text, ''
FROM functions f WHERE NOT pg_has_role(f.proowner, 'USAGE')";

/// An object of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct Object {
    /// One of [`KINDS`].
    pub kind: String,
    pub name: String,
    pub state: String,
    /// Commands that make it, or make it anew; empty where only a backup has it.
    pub make: String,
}

/// Every object that there is, without the commands that make them: those cost more than all the rest.
pub fn read(conn: &mut PgConnection) -> Result<Vec<Object>> {
    rows(conn, &format!("{OWN} {} UNION ALL {FOREIGN}", union(|_| "''")))
}

/// Every object with the commands that make it, ordered: what [`super::expected`] is written from.
pub fn describe(conn: &mut PgConnection) -> Result<Vec<Object>> {
    let mut objects = rows(conn, &format!("{OWN} {}", union(|kind| kind.make)))?;
    let rank = |object: &Object| KINDS.iter().position(|kind| kind.name == object.kind);
    // The keys that foreign keys lead to come before them.
    let leads_elsewhere = |object: &Object| object.kind == "constraint" && object.state.starts_with("FOREIGN KEY");
    objects.sort_by(|a, b| (rank(a), leads_elsewhere(a), &a.name).cmp(&(rank(b), leads_elsewhere(b), &b.name)));
    Ok(objects)
}

fn union(make: impl Fn(&Kind) -> &'static str) -> String {
    let parts = KINDS.iter().map(|kind| {
        let Kind { name, identity, state, from, .. } = kind;
        format!("SELECT '{name}', {identity}, {state}, {} FROM {from}", make(kind))
    });
    parts.collect::<Vec<_>>().join("\nUNION ALL\n")
}

fn rows(conn: &mut PgConnection, sql: &str) -> Result<Vec<Object>> {
    let rows = Statement::new(sql).rows(conn)?;
    let text = |row: &crate::db::Cells, index| row.text(index).unwrap_or_default().to_owned();
    Ok(rows
        .iter()
        .map(|row| Object { kind: text(row, 0), name: text(row, 1), state: text(row, 2), make: text(row, 3) })
        .collect())
}
