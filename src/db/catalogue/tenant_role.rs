//! Checks and creates the role `rapport_tenant`, to which the row-level security policies apply. Roles belong to the
//! whole server: a dump of a database does not contain it, and other databases of the server share it.

use diesel::connection::SimpleConnection;
use diesel::sql_types::{Bool, Nullable, Text};
use diesel::{PgConnection, QueryableByName};

use super::CatalogueFault;
use crate::base::error::{Error, Result};
use crate::db::Statement;

pub const TENANT_ROLE: &str = "rapport_tenant";

/// The role as the current user has it.
const STATE: &str = "
SELECT quote_ident(current_user) AS service_user, r.rolsuper OR r.rolbypassrls AS bypasses_policies,
       pg_has_role(r.oid, CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) AS can_be_assumed
FROM (SELECT 'rapport_tenant' AS name) wanted LEFT JOIN pg_roles r ON r.rolname = wanted.name";

/// The row of [`STATE`].
#[derive(QueryableByName)]
struct RoleState {
    /// The current user, quoted as an identifier.
    #[diesel(sql_type = Text)]
    service_user: String,
    /// `None`: there is no such role.
    #[diesel(sql_type = Nullable<Bool>)]
    bypasses_policies: Option<bool>,
    #[diesel(sql_type = Nullable<Bool>)]
    can_be_assumed: Option<bool>,
}

/// Returns what is wrong with the role, and the commands that repair it.
pub fn inspect(conn: &mut PgConnection) -> Result<Vec<CatalogueFault>> {
    let state = Statement::new(STATE).first::<RoleState>(conn)?;
    let state = state.ok_or_else(|| Error::Internal("the server does not tell its roles".into()))?;
    let user = state.service_user.as_str();
    let fault = |name: &str, problem: &str, remedy: String| CatalogueFault {
        kind: "role",
        name: name.into(),
        problem: problem.into(),
        remedy,
        repairable: true,
    };
    let create = format!("CREATE ROLE {TENANT_ROLE} NOLOGIN NOINHERIT;");
    let grant = format!("GRANT {TENANT_ROLE} TO {user};");
    Ok(match (state.bypasses_policies, state.can_be_assumed) {
        (None, _) => vec![fault(TENANT_ROLE, "is missing", format!("{create} {grant}"))],
        (Some(true), _) => {
            let remedy = format!("ALTER ROLE {TENANT_ROLE} NOSUPERUSER NOBYPASSRLS;");
            vec![fault(TENANT_ROLE, "is not held by row level security", remedy)]
        }
        (_, Some(true)) => Vec::new(),
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
