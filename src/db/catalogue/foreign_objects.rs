//! Objects and settings that no migration creates and that interfere with the service's reads or writes.

/// A kind of object or setting that no migration creates and that interferes with the service's reads or writes.
pub struct Foreign {
    pub name: &'static str,
    /// SQL expressions over `from`, as those of [`super::objects::ObjectKind`].
    pub(super) identity: &'static str,
    /// Follows kind and name in a sentence.
    pub(super) problem: &'static str,
    pub(super) remedy: &'static str,
    pub(super) from: &'static str,
    /// Whether `rapport migrate` runs the remedy. It does not where that would undo what an operator has made or set.
    pub repairable: bool,
    pub about: About,
}

/// What a foreign object's name begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A table, view or sequence of the schema `public`, which may not be Rapport's.
    Relation,
    /// Anything else.
    Other,
}

/// Settings that a session inherits from its role, its database or the server, and cannot or should not change itself;
/// those that it can, `rapport::db::connect` sets.
const SETTINGS: &str = "
    (SELECT n.name, r.setrole, r.setdatabase, coalesce(r.value, current_setting(n.name)) AS value
     FROM unnest(ARRAY['session_replication_role', 'default_transaction_read_only']) AS n(name)
     -- the value that PostgreSQL prefers for this role in this database, before any session has it
     LEFT JOIN LATERAL (
         SELECT r.setrole, r.setdatabase, split_part(c, '=', 2) AS value FROM pg_db_role_setting r, unnest(r.setconfig) c
         WHERE split_part(c, '=', 1) = n.name AND r.setrole IN (0, to_regrole(quote_ident(session_user))::oid)
           AND r.setdatabase IN (0, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
         ORDER BY r.setrole = 0, r.setdatabase = 0 LIMIT 1) r ON true) s
    WHERE CASE s.name WHEN 'session_replication_role' THEN lower(s.value) = 'replica' ELSE s.value::boolean END";

pub const FOREIGN: [Foreign; 8] = [
    Foreign {
        name: "owner",
        identity: "format('TABLE %I', o.relname)",
        problem: "format('is %s, a role whose rights the service does not have', pg_get_userbyid(o.relowner))",
        remedy: "format('ALTER TABLE %I OWNER TO CURRENT_USER; -- as a role that may, with the service''s role for CURRENT_USER', o.relname)",
        from: "own o WHERE o.relkind IN ('r', 'p') AND NOT pg_has_role(o.relowner, 'USAGE')",
        repairable: false,
        about: About::Other,
    },
    Foreign {
        name: "owner",
        identity: "format('FUNCTION %s', f.oid::regprocedure)",
        problem: "format('is %s, a role whose rights the service does not have', pg_get_userbyid(f.proowner))",
        remedy: "format('ALTER FUNCTION %s OWNER TO CURRENT_USER; -- as a role that may, with the service''s role for CURRENT_USER', f.oid::regprocedure)",
        from: "functions f WHERE NOT pg_has_role(f.proowner, 'USAGE')",
        repairable: false,
        about: About::Other,
    },
    Foreign {
        name: "privileges",
        identity: "o.relname::text",
        problem: "format('are revoked from the owner %s: %s', pg_get_userbyid(o.relowner), p.missing)",
        remedy: "format('GRANT ALL ON %s %I TO %I;', CASE o.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, o.relname, pg_get_userbyid(o.relowner))",
        // TRUNCATE may be revoked: the service does not use it.
        from: "own o, LATERAL (
                   SELECT string_agg(w.name, ', ' ORDER BY w.at) AS missing
                   FROM unnest(CASE o.relkind WHEN 'S' THEN ARRAY['SELECT', 'USAGE', 'UPDATE'] WHEN 'v' THEN ARRAY['SELECT']
                               ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'REFERENCES', 'TRIGGER'] END) WITH ORDINALITY AS w(name, at)
                   WHERE NOT CASE o.relkind WHEN 'S' THEN has_sequence_privilege(o.relowner, o.oid, w.name)
                             ELSE has_table_privilege(o.relowner, o.oid, w.name) END) p
               WHERE o.relacl IS NOT NULL AND p.missing IS NOT NULL",
        repairable: true,
        about: About::Relation,
    },
    Foreign {
        name: "foreign trigger",
        identity: "o.relname || '.' || t.tgname",
        problem: "'is not Rapport''s, and can change or swallow what is written'",
        remedy: "format('DROP TRIGGER %I ON %I;', t.tgname, o.relname)",
        // Row triggers (1) that fire before (2) or instead of (64) the change. Operators' own AFTER or statement
        // triggers are allowed: they cannot change the rows being written. Disabled triggers, or those that fire only
        // on replicas, do not affect the service's writes.
        from: "own o JOIN pg_trigger t ON t.tgrelid = o.oid
               WHERE NOT t.tgisinternal AND t.tgtype & 1 <> 0 AND t.tgtype & 66 <> 0 AND t.tgenabled IN ('O', 'A')",
        repairable: false,
        about: About::Relation,
    },
    Foreign {
        name: "rule",
        identity: "o.relname || '.' || r.rulename",
        problem: "'is not Rapport''s, and can change or swallow what is written'",
        remedy: "format('DROP RULE %I ON %I;', r.rulename, o.relname)",
        from: "own o JOIN pg_rewrite r ON r.ev_class = o.oid WHERE r.rulename <> '_RETURN' AND r.ev_enabled IN ('O', 'A')",
        repairable: false,
        about: About::Relation,
    },
    Foreign {
        name: "inheritance",
        identity: "o.relname::text",
        problem: "format('is broken: %s inherits from it, so its rows are shown as well, and writes to it move no version', i.inhrelid::regclass)",
        remedy: "format('ALTER TABLE %s NO INHERIT %I;', i.inhrelid::regclass, o.relname)",
        // Partitions belong to a partitioned table, and the migrations create none.
        from: "own o JOIN pg_inherits i ON i.inhparent = o.oid WHERE o.relkind = 'r'",
        repairable: false,
        about: About::Relation,
    },
    Foreign {
        name: "inheritance",
        identity: "o.relname::text",
        problem: "format('is broken: it inherits from %s, and writes to that change its rows without its triggers', i.inhparent::regclass)",
        remedy: "format(CASE WHEN o.relispartition THEN 'ALTER TABLE %2$s DETACH PARTITION %1$I;' ELSE 'ALTER TABLE %1$I NO INHERIT %2$s;' END,
                 o.relname, i.inhparent::regclass)",
        from: "own o JOIN pg_inherits i ON i.inhrelid = o.oid WHERE o.relkind IN ('r', 'p')",
        repairable: false,
        about: About::Relation,
    },
    Foreign {
        name: "setting",
        identity: "s.name",
        problem: "CASE s.name WHEN 'session_replication_role' THEN 'is `replica`, so foreign keys are not checked and only triggers that fire always do'
                  ELSE 'is `on`, so nothing can be written' END",
        // The session that resets it must itself be able to write.
        remedy: "CASE s.name WHEN 'default_transaction_read_only' THEN 'SET default_transaction_read_only = off; ' ELSE '' END ||
                 CASE WHEN s.setrole IS NULL THEN format('ALTER SYSTEM RESET %I; SELECT pg_reload_conf(); -- or in postgresql.conf, PGOPTIONS or DATABASE_URL', s.name)
                 WHEN s.setdatabase = 0 THEN format('ALTER ROLE %s RESET %I;', CASE s.setrole WHEN 0 THEN 'ALL' ELSE quote_ident(pg_get_userbyid(s.setrole)) END, s.name)
                 WHEN s.setrole = 0 THEN format('ALTER DATABASE %I RESET %I;', current_database(), s.name)
                 ELSE format('ALTER ROLE %I IN DATABASE %I RESET %I;', pg_get_userbyid(s.setrole), current_database(), s.name) END",
        from: SETTINGS,
        repairable: false,
        about: About::Other,
    },
];
