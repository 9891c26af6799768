//! Memberships: which people belong to the business, in which role. People are added under `/users`; here a role is
//! changed and a membership ended.

use std::time::Duration;

use uuid::Uuid;

use crate::auth::Tenant;
use crate::auth::{Area, Role};
use crate::base::error::{Error, Result};
use crate::db::{SqlValue, Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::crud::{self, Row};
use crate::resource::{Changeset, Field, FieldType, Operations, Relation, Resource, Search, Sort, WriteOps};

pub static MEMBERSHIPS: Resource = Resource {
    name: "membership",
    plural: "memberships",
    schema: "Membership",
    description: "Who belongs to the business, in which role. A person is added by `POST /users`.",
    table: "memberships",
    area: Area::People,
    fields: &[
        Field::ID,
        Field::new("user_id", FieldType::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73""#, "The person.")
            .read_only()
            .not_null()
            .filter(),
        Field::choice("role", Role::NAMES, r#""agent""#, "What they may do in this business.").not_null(),
        Field::VERSION,
        Field::CREATED_AT,
        Field::UPDATED_AT,
    ],
    relations: &[Relation::one("user", "users", "user_id", "The person.")],
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::None,
    operations: Operations { create: false, restore: false, batch: false, ..Operations::ALL },
    cache_ttl: Duration::from_secs(900),
    compressible: false,
    ..Resource::BASE
};

/// How its rows are written.
pub const WRITES: WriteOps = WriteOps { update, delete, ..WriteOps::PLAIN };

fn update(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    resource: &'static Resource,
    id: Uuid,
    change: Changeset,
    expected: IfMatch,
) -> Result<Row> {
    let role = role_of(tx, tenant, "id", id)?;
    guard_role(tenant, change.text("role"))?;
    let row = crud::update(tx, tenant, resource, id, change, expected)?;
    ensure_owner_remains(tx, tenant, role)?;
    Ok(row)
}

/// Ends a membership, and deletes the person if they belong to no other business.
fn delete(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, id: Uuid, expected: IfMatch) -> Result<()> {
    let role = role_of(tx, tenant, "id", id)?;
    let mut member = Statement::new("SELECT user_id FROM memberships WHERE business_id = ");
    member.bind(SqlValue::Uuid(Some(tenant.id()))).push(" AND id = ").bind(SqlValue::Uuid(Some(id)));
    let user = member.row(tx)?.and_then(|row| row.uuid(0)).unwrap_or_default();
    crud::delete(tx, tenant, resource, id, expected)?;
    ensure_owner_remains(tx, tenant, role)?;
    forget(tx, user)
}

/// Deletes the person `user` if they belong to no business any more.
pub fn forget(tx: &mut Tx<'_>, user: Uuid) -> Result<()> {
    // The SQL function bypasses row-level security, to see whether the person belongs to another business.
    let mut sql = Statement::new("SELECT rapport_forget_person(");
    sql.bind(SqlValue::Uuid(Some(user))).push(")").run(tx)?;
    Ok(())
}

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
pub fn role_of(tx: &mut Tx<'_>, tenant: &Tenant, column: &'static str, id: Uuid) -> Result<Option<Role>> {
    let mut sql = Statement::new("SELECT role FROM memberships WHERE business_id = ");
    sql.bind(SqlValue::Uuid(Some(tenant.id()))).push(" AND ").push(column).push(" = ").bind(SqlValue::Uuid(Some(id)));
    sql.push(" FOR UPDATE");
    let row = sql.row(tx)?;
    let role = row.as_ref().and_then(|row| row.text(0));
    guard_role(tenant, role)?;
    Ok(role.and_then(Role::named))
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
    lock.bind(SqlValue::Uuid(Some(tenant.id()))).push(" FOR NO KEY UPDATE").run(tx)?;
    let mut sql =
        Statement::new("SELECT count(*) FILTER (WHERE role = 'owner'), count(*) FROM memberships WHERE business_id = ");
    sql.bind(SqlValue::Uuid(Some(tenant.id())));
    match sql.row(tx)?.map(|row| (row.int(0), row.int(1))) {
        Some((Some(0), Some(1..))) => Err(Error::conflict(
            "last_owner",
            "A business keeps at least one owner. Give the role to someone else first.",
        )),
        _ => Ok(()),
    }
}
