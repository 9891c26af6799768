//! Memberships: who belongs to the business, in which role. People are added under `/users`; here a role is changed or
//! taken away.

use std::time::Duration;

use uuid::Uuid;

use super::users::USERS;
use crate::auth::Tenant;
use crate::auth::{Area, Role};
use crate::db::{Statement, Tx, Value};
use crate::error::{Error, Result};
use crate::http::precondition::IfMatch;
use crate::noun::store::{self, Row};
use crate::noun::{Change, Field, Kind, Noun, Operations, Relation, Search, Sort, Writes};

pub static MEMBERSHIPS: Noun = Noun {
    name: "membership",
    plural: "memberships",
    schema: "Membership",
    about: "Who belongs to the business, in which role. A person is added by `POST /users`.",
    table: "memberships",
    area: Area::People,
    fields: &[
        Field::ID,
        Field::new("user_id", Kind::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73""#, "The person.")
            .read_only()
            .not_null()
            .filter(),
        Field::choice("role", Role::NAMES, r#""agent""#, "What they may do in this business.").not_null(),
        Field::VERSION,
        Field::CREATED_AT,
        Field::UPDATED_AT,
    ],
    relations: &[Relation::one("user", &USERS, "user_id", "The person.")],
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::None,
    operations: Operations { create: false, restore: false, batch: false, ..Operations::ALL },
    writes: Writes { update, delete, ..Writes::PLAIN },
    ttl: Duration::from_secs(900),
    packed: false,
    ..Noun::BASE
};

fn update(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, change: Change, expected: IfMatch) -> Result<Row> {
    let role = role_of(tx, tenant, "id", id)?;
    guard_role(tenant, change.text("role"))?;
    let row = store::update(tx, tenant, id, change, expected)?;
    keep_an_owner(tx, tenant, role)?;
    Ok(row)
}

/// Ends a membership; who belongs to no other business is forgotten.
fn delete(tx: &mut Tx<'_>, tenant: &Tenant, noun: &'static Noun, id: Uuid, expected: IfMatch) -> Result<()> {
    let role = role_of(tx, tenant, "id", id)?;
    let mut member = Statement::new("SELECT user_id FROM memberships WHERE business_id = ");
    member.bind(Value::Uuid(Some(tenant.id()))).push(" AND id = ").bind(Value::Uuid(Some(id)));
    let user = member.row(tx)?.and_then(|row| row.uuid(0)).unwrap_or_default();
    store::delete(tx, tenant, noun, id, expected)?;
    keep_an_owner(tx, tenant, role)?;
    forget(tx, user)
}

/// Removes the person `user` if they belong to no business any more.
pub fn forget(tx: &mut Tx<'_>, user: Uuid) -> Result<()> {
    // Beyond the wall of this business: only there it is known whether they belong to another.
    let mut sql = Statement::new("SELECT rapport_forget_person(");
    sql.bind(Value::Uuid(Some(user))).push(")").run(tx)?;
    Ok(())
}

/// Nobody gives more than they have. Errors: 403.
pub fn guard_role(tenant: &Tenant, role: Option<&str>) -> Result<()> {
    match role.and_then(Role::named) {
        Some(role) if role > tenant.role() || !tenant.permissions().contain(role.permissions()) => {
            Err(Error::Forbidden(format!("Whoever has not all that the role `{role}` may do cannot give or take it.")))
        }
        _ => Ok(()),
    }
}

/// The role of the member whose `column` is `id`, locked so that it stays until the change is made; `None` if there is
/// no such member. Errors: 403 when it is above the caller's own, who may then not touch it.
pub fn role_of(tx: &mut Tx<'_>, tenant: &Tenant, column: &'static str, id: Uuid) -> Result<Option<Role>> {
    let mut sql = Statement::new("SELECT role FROM memberships WHERE business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(" AND ").push(column).push(" = ").bind(Value::Uuid(Some(id)));
    sql.push(" FOR UPDATE");
    let row = sql.row(tx)?;
    let role = row.as_ref().and_then(|row| row.text(0));
    guard_role(tenant, role)?;
    Ok(role.and_then(Role::named))
}

/// After a member of `role` was changed or left: people are never left without an owner. A business that never had one
/// (its keys came from the command line) is not held to it. Errors: 409 when the change before took the last one.
pub fn keep_an_owner(tx: &mut Tx<'_>, tenant: &Tenant, role: Option<Role>) -> Result<()> {
    if role != Some(Role::Owner) {
        return Ok(());
    }
    // Two who leave at once queue here, so that the second sees the first gone.
    let mut lock = Statement::new("SELECT id FROM businesses WHERE id = ");
    lock.bind(Value::Uuid(Some(tenant.id()))).push(" FOR NO KEY UPDATE").run(tx)?;
    let mut sql =
        Statement::new("SELECT count(*) FILTER (WHERE role = 'owner'), count(*) FROM memberships WHERE business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id())));
    match sql.row(tx)?.map(|row| (row.int(0), row.int(1))) {
        Some((Some(0), Some(1..))) => Err(Error::conflict(
            "last_owner",
            "A business keeps at least one owner. Give the role to someone else first.",
        )),
        _ => Ok(()),
    }
}
