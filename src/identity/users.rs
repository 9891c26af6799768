//! People. A person is one row for all businesses; here a business sees those who are its members, each with the role
//! that they have in it.

use std::time::Duration;

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::memberships::{forget, guard_role, keep_an_owner, role_of};
use crate::auth::Tenant;
use crate::auth::{Area, Role};
use crate::db::{Statement, Tx, Value};
use crate::error::{Error, Result};
use crate::http::precondition::IfMatch;
use crate::noun::store::{self, Row};
use crate::noun::{Change, Field, Kind, Noun, Operations, Search, Sort, Writes};

pub static USERS: Noun = Noun {
    name: "user",
    plural: "users",
    schema: "User",
    about: "The people of the business. Leads, tasks and conversations are assigned to them.",
    table: "business_users",
    area: Area::People,
    fields: &[
        Field::ID,
        Field::new("email", Kind::Email, r#""amina@example.com""#, "Unique over all people.").required().once(),
        Field::text("name", 200, r#""Amina Diallo""#, "As others see it.").required(),
        Field::choice("role", Role::NAMES, r#""agent""#, "The role in this business.").required(),
        Field::new(
            "membership_id",
            Kind::Uuid,
            r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c72""#,
            "The membership behind it.",
        )
        .read_only()
        .not_null(),
        Field::VERSION,
        Field::CREATED_AT,
        Field::UPDATED_AT,
    ],
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::Substring,
    operations: Operations { restore: false, batch: false, ..Operations::ALL },
    writes: Writes { create, update, delete, ..Writes::PLAIN },
    tables: &["users", "memberships"],
    ttl: Duration::from_secs(900),
    packed: false,
    ..Noun::BASE
};

/// Adds a new person to the business. Who is known by that address already is not shown, let alone taken over: members
/// are told of (409), and people of other businesses have to agree: they are invited.
fn create(tx: &mut Tx<'_>, tenant: &Tenant, change: Change) -> Result<(Uuid, Row)> {
    guard_role(tenant, change.text("role"))?;
    let given = |name| change.get(name).cloned().unwrap_or(Value::Text(None));
    let id = Uuid::now_v7();
    let mut insert = Statement::new("SELECT rapport_add_person(");
    insert.bind(Value::Uuid(Some(id))).push(", ").bind(given("email")).push(", ").bind(given("name"));
    if insert.push(")::int").row(tx)?.and_then(|row| row.int(0)) != Some(1) {
        return Err(Error::Conflict {
            code: "already_exists",
            detail: "A person with this address exists already, here or in another business. Who is elsewhere can be invited: \
                     `POST /api/v1/invitations`."
                .into(),
            pointer: Some("/email".into()),
            extra: Box::default(),
        });
    }
    let mut join = Statement::new("INSERT INTO memberships (business_id, id, user_id, role) VALUES (");
    join.bind(Value::Uuid(Some(tenant.id()))).push(", ").bind(Value::Uuid(Some(Uuid::now_v7()))).push(", ");
    join.bind(Value::Uuid(Some(id))).push(", ").bind(given("role")).push(")").run(tx)?;
    Ok((id, shown(tx, tenant, id)?))
}

/// Changes a member's role, and their name if they belong to this business alone.
fn update(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, change: Change, expected: IfMatch) -> Result<Row> {
    let version = lock(tx, tenant, id)?;
    if !expected.allows(Some(version)) {
        return Err(Error::Stale);
    }
    let before = role_of(tx, tenant, "user_id", id)?;
    let known = shown_values(tx, tenant, id)?;
    let differs = |name| change.get(name).filter(|value| known.get(name) != Some(&value.to_json()));
    if let Some(name) = differs("name") {
        let mut sql = Statement::new("UPDATE users SET version = version + 1, updated_at = now(), name = ");
        sql.bind(name.clone()).push(" WHERE id = ").bind(Value::Uuid(Some(id)));
        sql.push(" AND NOT rapport_belongs_elsewhere(id)");
        if sql.run(tx)? == 0 {
            return Err(Error::conflict(
                "shared_person",
                "This person belongs to other businesses too and can only be renamed by themselves.",
            ));
        }
    }
    if let Some(role) = differs("role") {
        guard_role(tenant, role.as_text())?;
        let mut sql = Statement::new("UPDATE memberships AS t SET version = version + 1, updated_at = now(), role = ");
        sql.bind(role.clone()).push(" WHERE t.business_id = ").bind(Value::Uuid(Some(tenant.id())));
        sql.push(" AND t.user_id = ").bind(Value::Uuid(Some(id)));
        sql.run(tx)?;
        keep_an_owner(tx, tenant, before)?;
    }
    shown(tx, tenant, id)
}

/// Takes a person out of the business; who belongs to no other is forgotten.
fn delete(tx: &mut Tx<'_>, tenant: &Tenant, _: &'static Noun, id: Uuid, expected: IfMatch) -> Result<()> {
    let before = lock(tx, tenant, id)?;
    if !expected.allows(Some(before)) {
        return Err(Error::Stale);
    }
    let role = role_of(tx, tenant, "user_id", id)?;
    let mut leave = Statement::new("DELETE FROM memberships AS t WHERE t.business_id = ");
    leave.bind(Value::Uuid(Some(tenant.id()))).push(" AND t.user_id = ").bind(Value::Uuid(Some(id)));
    leave.run(tx)?;
    keep_an_owner(tx, tenant, role)?;
    forget(tx, id)
}

/// Locks the membership and the person, and returns the version of both together. Errors: 404.
fn lock(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<i64> {
    let mut sql = Statement::new(
        "SELECT u.version + m.version FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.business_id = ",
    );
    sql.bind(Value::Uuid(Some(tenant.id()))).push(" AND m.user_id = ").bind(Value::Uuid(Some(id))).push(" FOR UPDATE");
    sql.row(tx)?.and_then(|row| row.int(0)).ok_or_else(|| store::missing(&USERS))
}

/// What is shown of the person, by field.
fn shown_values(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Map<String, Json>> {
    serde_json::from_slice(&shown(tx, tenant, id)?.json).map_err(|error| Error::Internal(error.to_string()))
}

fn shown(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Row> {
    store::one(tx, tenant, &USERS, id, &Default::default())?.ok_or_else(|| store::missing(&USERS))
}
