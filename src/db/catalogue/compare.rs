//! Compares the database's catalogue with what this release needs.

use std::collections::HashMap;

use diesel::sql_types::{Bool, Nullable, Text};
use diesel::{PgConnection, QueryableByName};

use super::foreign_objects::{About, FOREIGN};
use super::objects::{self, KINDS, Object, ObjectKind, OnNewer};
use super::{CatalogueFault, Report, TENANT_ROLE, expected, tenant_role};
use crate::base::error::BoxError;
use crate::base::error::{Error, Result};
use crate::db::{Statement, bound_lock_waits, connect, migrations};

/// The one encoding that can store every text of the API.
const ENCODING: &str = "UTF8";

/// Remedy for what no command can restore.
const SEE_BACKUP: &str = "-- only a backup has it: docs/BACKUP.md, \"One table put back\"";

/// Remedy for a table replaced by a partitioned one, whose triggers do not see writes to its partitions.
const NO_PARTITIONS: &str = "-- make it a plain table: CREATE TABLE other (LIKE it INCLUDING ALL), copy its rows, swap the names, \
                             `rapport migrate`";

/// Checks the database with a few queries of constant size, about 20 ms. Changes nothing.
/// Errors: the catalogue cannot be read.
pub fn inspect(conn: &mut PgConnection) -> Result<Report> {
    if let Some(fault) = first_fault(conn)? {
        return Ok(Report { faults: vec![fault], ..Report::default() });
    }
    let (missing_migrations, unknown_migrations) = migrations::missing_and_unknown(conn)?;
    let mut report = Report { missing_migrations, unknown_migrations, ..Report::default() };
    if report.is_migrated() {
        report.faults = tenant_role::inspect(conn)?;
        let there = objects::read(conn)?;
        compare(&mut report, &there);
    }
    Ok(report)
}

/// As [`inspect`], on its own connection to `url`, which waits at most 10 s for a locked table.
/// Errors: the database cannot be reached or read.
pub fn inspect_at(url: &str) -> std::result::Result<Report, BoxError> {
    let mut conn = connect(url)?;
    bound_lock_waits(&mut conn)?;
    Ok(inspect(&mut conn)?)
}

/// The database, and the owner of its migrations table where the service may not use that.
const ACCESS: &str = "
SELECT quote_ident(d.datname) AS name, pg_encoding_to_char(d.encoding)::text AS encoding,
       quote_ident(pg_get_userbyid(m.relowner)) AS refusing_owner, pg_has_role(m.relowner, 'USAGE') AS has_owners_rights
FROM pg_database d LEFT JOIN pg_class m ON m.relnamespace = 'public'::regnamespace AND m.relname = '__diesel_schema_migrations'
     AND NOT (has_table_privilege(m.oid, 'SELECT') AND has_table_privilege(m.oid, 'INSERT'))
WHERE d.datname = current_database()";

/// The row of [`ACCESS`].
#[derive(QueryableByName)]
struct DatabaseAccess {
    /// Quoted as an identifier, as is the owner.
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    encoding: String,
    /// `None`: the service may use the migrations table, or there is none.
    #[diesel(sql_type = Nullable<Text>)]
    refusing_owner: Option<String>,
    #[diesel(sql_type = Nullable<Bool>)]
    has_owners_rights: Option<bool>,
}

/// Returns the fault that prevents any inspection: an encoding that requires a new database, or a migrations table that
/// may not be read.
fn first_fault(conn: &mut PgConnection) -> Result<Option<CatalogueFault>> {
    let access = Statement::new(ACCESS).first::<DatabaseAccess>(conn)?;
    let access = access.ok_or_else(|| Error::Internal("the database does not tell its name".into()))?;
    if access.encoding != ENCODING {
        return Ok(Some(wrong_encoding(&access.name, &access.encoding)));
    }
    let Some(owner) = access.refusing_owner else { return Ok(None) };
    let table = "__diesel_schema_migrations";
    Ok(Some(match access.has_owners_rights {
        Some(true) => CatalogueFault {
            kind: "privileges",
            name: table.into(),
            problem: format!("are revoked from the owner {owner}"),
            remedy: format!("GRANT ALL ON TABLE {table} TO {owner};"),
            repairable: true,
        },
        _ => CatalogueFault {
            kind: "owner",
            name: format!("TABLE {table}"),
            problem: format!("is {owner}, a role whose rights the service does not have"),
            remedy: format!(
                "ALTER TABLE {table} OWNER TO CURRENT_USER; -- and every other table; as a role that may, with the service's \
                 role for CURRENT_USER"
            ),
            repairable: false,
        },
    }))
}

fn wrong_encoding(name: &str, encoding: &str) -> CatalogueFault {
    CatalogueFault {
        kind: "database",
        name: name.into(),
        problem: format!(
            "is encoded in {encoding}, and must be in {ENCODING}, or texts are stored that cannot be read"
        ),
        remedy: format!(
            "CREATE DATABASE rapport_utf8 TEMPLATE template0 ENCODING '{ENCODING}'; -- name it in DATABASE_URL; to bring \
             data along, see docs/BACKUP.md"
        ),
        repairable: false,
    }
}

fn compare(report: &mut Report, there: &[Object]) {
    let newer = report.is_newer();
    let found: HashMap<(&str, &str), &str> =
        there.iter().map(|object| ((object.kind.as_str(), object.name.as_str()), object.state.as_str())).collect();
    // Without the role there can be no grants to it and no policies for it: one fault instead of a hundred.
    let roleless = report.faults.iter().any(|fault| fault.name == TENANT_ROLE && fault.problem == "is missing");
    for wanted in expected::OBJECTS.iter() {
        let Some(kind) = KINDS.iter().find(|kind| kind.name == wanted.kind) else { continue };
        if newer && kind.on_newer == OnNewer::Free || roleless && wanted.make.contains(TENANT_ROLE) {
            continue;
        }
        #[cfg(feature = "mutants")]
        if crate::base::mutants::changes_database() && wanted.name.starts_with("rapport_") {
            continue;
        }
        let table = table_of(wanted);
        if kind.name != "table" && table.is_some_and(|table| !found.contains_key(&("table", table))) {
            continue;
        }
        let problem = match found.get(&(kind.name, wanted.name.as_str())) {
            None => "is missing".to_owned(),
            Some(state) => match difference(kind, wanted, state, newer) {
                Some(problem) => problem,
                None => continue,
            },
        };
        let remedy = match (kind.name, problem.as_str()) {
            ("table", "is missing") => SEE_BACKUP.to_owned(),
            ("table", problem) if problem.contains("partitioned") => NO_PARTITIONS.to_owned(),
            ("column", _) => {
                format!("{};", of_column(wanted, found.get(&("column", wanted.name.as_str())).copied()))
            }
            // Unchanged, with its line breaks: every character of a function counts.
            _ => format!("{};", wanted.make),
        };
        let fault =
            CatalogueFault { kind: kind.name, name: wanted.name.clone(), problem, remedy, repairable: kind.repairable };
        // A unique index is an integrity rule; any other index only makes reads faster.
        let only_slower = kind.name == "index" && !wanted.state.starts_with("unique");
        if only_slower { &mut report.advice } else { &mut report.faults }.push(fault);
    }
    report.faults.extend(there.iter().filter_map(|object| foreign(object, newer).or_else(|| opening(object, newer))));
}

/// Returns the commands that repair a column: of those that add it, set its type and set its nullability, the ones that
/// are needed. Setting a type that is right already would fail where a generated column reads it.
fn of_column(wanted: &Object, state: Option<&str>) -> String {
    let commands: Vec<&str> = wanted.make.split("; ").collect();
    let (Some(state), [_, set_type, set_null]) = (state, commands.as_slice()) else { return commands[0].to_owned() };
    let parts = |state: &str| (state.replace(" NOT NULL", ""), state.contains(" NOT NULL"));
    let ((is, is_filled), (must, must_be_filled)) = (parts(state), parts(&wanted.state));
    let needed = [(is != must, set_type), (is_filled != must_be_filled, set_null)];
    needed.iter().filter(|(needed, _)| *needed).map(|(_, command)| **command).collect::<Vec<_>>().join("; ")
}

/// Returns the table that an object belongs to, if any.
fn table_of(object: &Object) -> Option<&str> {
    let name = object.name.as_str();
    match object.kind.as_str() {
        "column" | "default" | "constraint" | "index" | "policy" | "trigger" => {
            name.split_once('.').map(|(table, _)| table)
        }
        "row level security" => Some(name),
        // Grants also name views and sequences, which are not tables.
        "grant" => name
            .split_once(' ')
            .map(|(table, _)| table)
            .filter(|table| expected::BY_NAME.contains_key(&("table", *table))),
        _ => None,
    }
}

/// Describes how an existing object differs from the expected one.
fn difference(kind: &ObjectKind, wanted: &Object, state: &str, newer: bool) -> Option<String> {
    if wanted.state == state {
        return None;
    }
    let fires = |state: &str| state.chars().next();
    if kind.name == "trigger" && fires(&wanted.state) != fires(state) {
        return Some(match fires(state) {
            Some('D') => "is disabled".into(),
            _ if wanted.state.starts_with('A') => {
                "does not fire always (ENABLE ALWAYS), and misses what is replicated or restored".into()
            }
            _ => "does not fire for ordinary writes".into(),
        });
    }
    if newer {
        return None;
    }
    Some(match kind.name {
        "index" | "column" | "table" | "sequence" => format!("is `{state}`, and must be `{}`", wanted.state),
        "constraint" if state.ends_with("NOT VALID") => "is not validated".into(),
        "constraint" if state.ends_with(" DISABLED") => {
            "is switched off (DISABLE TRIGGER ALL), and rows that it forbids may have been written".into()
        }
        "row level security" if state == "forced" => "is forced on the owner, as which the service reads".into(),
        "execute" => format!("may be called by {}, and must be by {}", or_nobody(state), or_nobody(&wanted.state)),
        _ => "is not as the migrations made it".into(),
    })
}

fn or_nobody(roles: &str) -> &str {
    if roles.is_empty() { "its owner only" } else { roles }
}

/// Returns a fault for an object of [`FOREIGN`] that affects Rapport's objects. On a newer release's database only
/// owners and settings are checked: the rest may be that release's. Operators' own tables and functions may belong to
/// anyone.
fn foreign(object: &Object, newer: bool) -> Option<CatalogueFault> {
    let foreign = FOREIGN.iter().find(|foreign| foreign.name == object.kind)?;
    let kind = foreign.name.strip_prefix("foreign ").unwrap_or(foreign.name);
    if foreign.about == About::Relation {
        let relation = object.name.split('.').next().unwrap_or_default();
        let ours = ["table", "view", "sequence"].iter().any(|kind| expected::BY_NAME.contains_key(&(*kind, relation)));
        if newer || !ours || expected::BY_NAME.contains_key(&(kind, object.name.as_str())) {
            return None;
        }
    }
    if kind == "owner" {
        let (what, name) = object.name.split_once(' ')?;
        expected::BY_NAME.get(&(what.to_lowercase().as_str(), name))?;
    }
    Some(CatalogueFault {
        kind,
        name: object.name.clone(),
        problem: object.state.clone(),
        remedy: object.make.clone(),
        repairable: foreign.repairable,
    })
}

/// Returns a fault for a policy, or row-level security of a table, that the migrations did not create: permissive
/// policies are joined by OR and let more rows through, restrictive ones hide rows from the service.
fn opening(object: &Object, newer: bool) -> Option<CatalogueFault> {
    let known = expected::BY_NAME.contains_key(&(object.kind.as_str(), object.name.as_str()));
    let table = table_of(object).filter(|table| expected::BY_NAME.contains_key(&("table", *table)))?;
    if known || newer {
        return None;
    }
    let (kind, problem, remedy) = match object.kind.as_str() {
        "policy" => {
            let policy = object.name.split_once('.')?.1;
            let opens = object.state.starts_with("permissive");
            let problem = if opens { "lets rows of other businesses through" } else { "hides rows from the service" };
            ("policy", problem, format!("DROP POLICY \"{policy}\" ON \"{table}\";"))
        }
        "row level security" => (
            "row level security",
            "hides rows from the service",
            format!("ALTER TABLE \"{table}\" DISABLE ROW LEVEL SECURITY;"),
        ),
        _ => return None,
    };
    Some(CatalogueFault {
        kind,
        name: object.name.clone(),
        problem: format!("is not Rapport's, and {problem}"),
        remedy,
        repairable: false,
    })
}

/// Identifies the triggers and functions that log changes. It changes when one is dropped and created again, or
/// disabled and enabled again, because changes may have been missed in between.
pub fn fingerprint(conn: &mut PgConnection) -> Result<String> {
    let sql = Statement::new(
        "SELECT md5(coalesce((SELECT string_agg(concat_ws(' ', t.oid, t.xmin, t.tgrelid), ',' ORDER BY t.oid) FROM pg_trigger t
                              WHERE NOT t.tgisinternal AND t.tgname LIKE 'log\\_%'), '')
                 || coalesce((SELECT string_agg(concat_ws(' ', p.oid, p.xmin), ',' ORDER BY p.oid) FROM pg_proc p
                              WHERE p.proname LIKE 'rapport\\_%' AND p.pronamespace = 'public'::regnamespace), ''))",
    );
    Ok(sql.scalar(conn)?.unwrap_or_default())
}
