//! Rules of roles: a caller grants at most their own, and a business keeps an owner.

use diesel::Column;
use uuid::Uuid;

use crate::auth::{Role, Tenant};
use crate::base::error::{Error, Result};
use crate::db::schema::memberships;
use crate::db::{Statement, Tx};

/// Checks that the caller grants no more than they may do themselves. Errors: 403.
pub fn guard_role(tenant: &Tenant, role: Option<&str>) -> Result<()> {
    match role.and_then(Role::named) {
        Some(role) if role > tenant.role() || !tenant.permissions().contain(role.permissions()) => {
            Err(Error::Forbidden(format!("A caller without all permissions of role `{role}` cannot give or take it.")))
        }
        _ => Ok(()),
    }
}

/// Returns the role of the member whose `column` is `id`, and locks it until the end of the transaction; `None` if
/// there is no such member. Errors: 403 when it is above the caller's own, so that the caller cannot change it.
pub fn role_of<C>(tx: &mut Tx<'_>, tenant: &Tenant, _column: C, id: Uuid) -> Result<Option<Role>>
where
    C: Column<Table = memberships::table>,
{
    let mut sql = Statement::new("SELECT role FROM memberships WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND ").ident(C::NAME).sql(" = ").bind(id);
    let role = sql.sql(" FOR UPDATE").scalar::<String>(tx)?;
    guard_role(tenant, role.as_deref())?;
    Ok(role.as_deref().and_then(Role::named))
}

/// Checks, after a member of `role` was changed or removed, that the remaining members include an owner. A business
/// which never had one, because its keys were made on the command line, is exempt. Errors: 409 when the change removed
/// the last owner.
pub fn ensure_owner_remains(tx: &mut Tx<'_>, tenant: &Tenant, role: Option<Role>) -> Result<()> {
    if role != Some(Role::Owner) {
        return Ok(());
    }
    // Serializes owners who leave at the same time, so that the second sees the first gone.
    let mut lock = Statement::new("SELECT id FROM businesses WHERE id = ");
    lock.bind(tenant.id()).sql(" FOR NO KEY UPDATE").run(tx)?;
    let mut ownerless =
        Statement::new("SELECT count(*) > 0 AND NOT bool_or(role = 'owner') FROM memberships WHERE business_id = ");
    match ownerless.bind(tenant.id()).scalar::<bool>(tx)? {
        Some(true) => Err(Error::conflict(
            "last_owner",
            "A business keeps at least one owner. Give the role to someone else first.",
        )),
        _ => Ok(()),
    }
}
