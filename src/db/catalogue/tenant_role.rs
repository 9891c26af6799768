//! Checks and creates the role `rapport_tenant`, to which the row-level security policies apply. Roles belong to the
//! whole server: a dump of a database does not contain it, and other databases of the server share it.

use diesel::PgConnection;
use diesel::connection::SimpleConnection;

use super::CatalogueFault;
use crate::base::error::{Error, Result};
use crate::db::Statement;

pub const TENANT_ROLE: &str = "rapport_tenant";

/// Whether the role exists, is subject to policies, and can be assumed by the current user.
const STATE: &str = "
SELECT quote_ident(current_user), (SELECT CASE WHEN r.rolsuper OR r.rolbypassrls THEN 'free' ELSE 'held' END
                                   FROM pg_roles r WHERE r.rolname = 'rapport_tenant'),
       (SELECT pg_has_role(r.oid, CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)::text
        FROM pg_roles r WHERE r.rolname = 'rapport_tenant')";

/// Returns what is wrong with the role, and the commands that repair it.
pub fn inspect(conn: &mut PgConnection) -> Result<Vec<CatalogueFault>> {
    let row = Statement::new(STATE).row(conn)?;
    let row = row.ok_or_else(|| Error::Internal("the server does not tell its roles".into()))?;
    let user = row.text(0).unwrap_or_default();
    let fault = |name: &str, problem: &str, remedy: String| CatalogueFault {
        kind: "role",
        name: name.into(),
        problem: problem.into(),
        remedy,
        repairable: true,
    };
    let create = format!("CREATE ROLE {TENANT_ROLE} NOLOGIN NOINHERIT;");
    let grant = format!("GRANT {TENANT_ROLE} TO {user};");
    Ok(match (row.text(1), row.text(2)) {
        (None, _) => vec![fault(TENANT_ROLE, "is missing", format!("{create} {grant}"))],
        (Some("free"), _) => {
            let remedy = format!("ALTER ROLE {TENANT_ROLE} NOSUPERUSER NOBYPASSRLS;");
            vec![fault(TENANT_ROLE, "is not held by row level security", remedy)]
        }
        (_, Some("true")) => Vec::new(),
        _ => vec![fault(user, &format!("may not take on the role {TENANT_ROLE}"), grant)],
    })
}

/// Creates the role, or the membership in it, where missing. Errors: the commands for an administrator, where the
/// current user may not run them.
pub fn ensure(conn: &mut PgConnection) -> Result<(), String> {
    for fault in inspect(conn).map_err(|error| error.to_string())? {
        if let Err(error) = conn.batch_execute(&fault.remedy) {
            // Another database's migration may have done it first.
            if inspect(conn).is_ok_and(|faults| faults.is_empty()) {
                return Ok(());
            }
            return Err(format!(
                "{}, and this user may not change that: {error}\nRun this as an administrator, then \
                                `rapport migrate` again:\n    {}",
                fault.sentence(),
                fault.remedy
            ));
        }
    }
    Ok(())
}
