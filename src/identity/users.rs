//! Users: a person is one row for all businesses; a business sees those who are its members, each with their role in
//! it.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::add_member::{KnownMember, add_member};
use super::role_rules::{ensure_owner_remains, guard_role};
use crate::auth::{Area, Role, Tenant};
use crate::base::error::{Error, Result};
use crate::db::schema::business_users;
use crate::db::{Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::{Changeset, Field, FieldType, Operations, Resource, Search, Sort, WriteOps};
use crate::resource::{Row, batch, crud};

pub static USERS: Resource = Resource {
    name: "user",
    plural: "users",
    schema: "User",
    description: "The people of the business. Leads, tasks and conversations are assigned to them.",
    table: "business_users",
    area: Area::People,
    fields: &[
        Field::id(business_users::id),
        Field::new(business_users::email, FieldType::Email, r#""amina@example.com""#, "Unique over all people.")
            .required()
            .once(),
        Field::text(business_users::name, 200, r#""Amina Diallo""#, "As others see it.").required(),
        Field::choice(business_users::role, Role::NAMES, r#""agent""#, "The role in this business.").required(),
        Field::new(
            business_users::membership_id,
            FieldType::Uuid,
            r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c72""#,
            "The membership behind it.",
        )
        .read_only()
        .not_null(),
        Field::version(business_users::version),
        Field::created_at(business_users::created_at),
        Field::updated_at(business_users::updated_at),
    ],
    // The schema cannot know that this column of a view is never null.
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::Substring,
    operations: Operations { restore: false, batch: false, ..Operations::ALL },
    source_tables: &["users", "memberships"],
    cache_ttl: Duration::from_secs(900),
    compressible: false,
    ..Resource::BASE
};

/// How its rows are written.
pub const WRITES: WriteOps = WriteOps { create, update, delete, ..WriteOps::PLAIN };

/// Adds a new person to the business. An existing person with that address is neither shown nor changed. Errors: 409
/// when the address is taken, here or in another business, whose people have to be invited.
fn create(tx: &mut Tx<'_>, tenant: &Tenant, _: &'static Resource, change: Changeset) -> Result<(Uuid, Row)> {
    guard_role(tenant, change.text(business_users::role))?;
    let id = Uuid::now_v7();
    let mut insert = Statement::new("SELECT rapport_add_person(");
    insert.bind(id).sql(", ").bind(change.text(business_users::email)).sql(", ");
    insert.bind(change.text(business_users::name)).sql(")");
    if insert.scalar::<bool>(tx)? != Some(true) {
        return Err(Error::Conflict {
            code: "already_exists",
            detail: "A person with this address exists already, here or in another business. Who is elsewhere can be invited: \
                     `POST /api/v1/invitations`."
                .into(),
            pointer: Some("/email".into()),
            extra: Box::default(),
        });
    }
    let role = change.text(business_users::role).unwrap_or_default();
    add_member(tx, tenant.id(), id, role, KnownMember::Keeps)?;
    Ok((id, shown(tx, tenant, id)?))
}

/// Updates a member's role, and their name if they belong to this business alone.
fn update(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    _: &'static Resource,
    id: Uuid,
    change: Changeset,
    expected: IfMatch,
) -> Result<Row> {
    let member = lock(tx, tenant, id, expected)?;
    if !change.repeated().is_empty() {
        batch::check_repeated_in(&change, &shown_values(tx, tenant, id)?).map_err(Error::Invalid)?;
    }
    if let Some(name) = change.text(business_users::name).filter(|name| *name != member.name) {
        let mut sql = Statement::new("UPDATE users SET version = version + 1, updated_at = now(), name = ");
        sql.bind(name).sql(" WHERE id = ").bind(id);
        sql.sql(" AND NOT rapport_belongs_elsewhere(id)");
        if sql.run(tx)? == 0 {
            return Err(Error::conflict(
                "shared_person",
                "This person belongs to other businesses too and can only be renamed by themselves.",
            ));
        }
    }
    if let Some(role) = change.text(business_users::role).filter(|role| *role != member.role) {
        guard_role(tenant, Some(role))?;
        let mut sql = Statement::new("UPDATE memberships AS t SET version = version + 1, updated_at = now(), role = ");
        sql.bind(role).sql(" WHERE t.business_id = ").bind(tenant.id());
        sql.sql(" AND t.user_id = ").bind(id);
        sql.run(tx)?;
        ensure_owner_remains(tx, tenant, Role::named(&member.role))?;
    }
    shown(tx, tenant, id)
}

/// Removes a person from the business, and deletes them if they belong to no other.
fn delete(tx: &mut Tx<'_>, tenant: &Tenant, _: &'static Resource, id: Uuid, expected: IfMatch) -> Result<()> {
    let member = lock(tx, tenant, id, expected)?;
    let mut leave = Statement::new("DELETE FROM memberships AS t WHERE t.business_id = ");
    leave.bind(tenant.id()).sql(" AND t.user_id = ").bind(id);
    leave.run(tx)?;
    ensure_owner_remains(tx, tenant, Role::named(&member.role))?;
    delete_unless_member(tx, id)
}

/// Deletes the person `user` if they belong to no business any more.
pub fn delete_unless_member(tx: &mut Tx<'_>, user: Uuid) -> Result<()> {
    // The SQL function bypasses row-level security, to see whether the person belongs to another business.
    let mut sql = Statement::new("SELECT rapport_erase_user(");
    sql.bind(user).sql(")").run(tx)?;
    Ok(())
}

/// A locked person with their membership.
#[derive(QueryableByName)]
struct LockedMember {
    /// Of both rows together.
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    role: String,
}

/// Locks the membership and the person until the end of the transaction. Errors: 404; 412 when `expected` does not allow
/// their version; 403 when the role is above the caller's own, so that the caller cannot change it.
fn lock(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Result<LockedMember> {
    let mut sql = Statement::new(
        "SELECT u.version + m.version AS version, u.name, m.role FROM memberships m JOIN users u ON u.id = m.user_id \
         WHERE m.business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND m.user_id = ").bind(id).sql(" FOR UPDATE");
    let member = sql.first::<LockedMember>(tx)?.ok_or_else(|| crud::not_found(&USERS))?;
    if !expected.allows(Some(member.version)) {
        return Err(Error::PreconditionFailed);
    }
    guard_role(tenant, Some(&member.role))?;
    Ok(member)
}

/// Returns the user's row as the API shows it, by field.
fn shown_values(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Map<String, Json>> {
    serde_json::from_slice(&shown(tx, tenant, id)?.json).map_err(|error| Error::Internal(error.to_string()))
}

fn shown(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Row> {
    crud::one(tx, tenant, &USERS, id, &Default::default())?.ok_or_else(|| crud::not_found(&USERS))
}
