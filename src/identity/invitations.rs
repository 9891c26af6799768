//! Invitations, by which people join a business themselves. An invitation is made for an email address. A person who
//! has that address already, here or in another business, is neither shown nor changed: they join when they accept.

use std::time::Duration;

use diesel::pg::PgConnection;
use uuid::Uuid;

use super::memberships::guard_role;
use super::provisioning::known_as;
use super::sessions::{self, MembershipChoice};
use crate::auth::{Area, Hash, Role, Tenant, TenantSettings};
use crate::base::email;
use crate::base::error::{Error, FieldError, Result};
use crate::db::{Actor, SqlValue, Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::crud::{self, Row};
use crate::resource::{
    Changeset, Field, FieldType, Hooks, Operations, Resource, Search, Sort, ValidationErrors, WriteOps,
};

pub static INVITATIONS: Resource = Resource {
    name: "invitation",
    plural: "invitations",
    schema: "Invitation",
    description: "People who were asked to join by mail and have not done so yet. A second one to the same address takes the place \
            of the first; one whose time is over stays until then, or until it is deleted.",
    table: "invitations",
    area: Area::People,
    fields: &[
        Field::ID,
        Field::new("email", FieldType::Email, r#""bo@example.com""#, "Where the mail goes.").required().once(),
        Field::text(
            "name",
            200,
            r#""Bo Lindqvist""#,
            "What they are called, if they are new here and say nothing else.",
        )
        .required()
        .once(),
        Field::choice("role", Role::NAMES, r#""agent""#, "What they will be; at most what who invites them is.")
            .required()
            .once(),
        Field::time("expires_at", "Until when it can be accepted.").read_only().not_null(),
        Field::VERSION,
        Field::CREATED_AT,
        Field::UPDATED_AT,
    ],
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::None,
    operations: Operations { update: false, restore: false, batch: false, ..Operations::ALL },
    hooks: Hooks { prepare, ..Hooks::NONE },
    cache_ttl: Duration::from_secs(900),
    compressible: false,
    ..Resource::BASE
};

/// How its rows are written.
pub const WRITES: WriteOps = WriteOps { delete, ..WriteOps::PLAIN };

fn prepare(change: &mut Changeset, _: &TenantSettings, faults: &mut ValidationErrors) {
    if change.text("email").is_some_and(|email| !email::is_reachable(email)) {
        faults.field("email", "format", "`email` must be an address that mail can be sent to.");
    }
}

/// Creates the invitation `change`, valid for `days`, with the token of this hash; it replaces one for the same
/// address. Errors: 403 when its role, or that of the replaced one, is above the caller's own; 409 for a member.
pub fn invite(tx: &mut Tx<'_>, tenant: &Tenant, change: &Changeset, token: &Hash, days: u32) -> Result<(Uuid, Row)> {
    guard_role(tenant, change.text("role"))?;
    let given = |name| change.get(name).cloned().unwrap_or(SqlValue::Text(None));
    let business = || SqlValue::Uuid(Some(tenant.id()));
    // Row-level security limits the query to this business, so it reveals nothing about other people.
    let mut member =
        Statement::new("SELECT u.id FROM users u JOIN memberships m ON m.user_id = u.id WHERE lower(u.email) = lower(");
    member.bind(given("email")).push(") AND m.business_id = ").bind(business());
    if member.row(tx)?.is_some() {
        return Err(Error::Conflict {
            code: "already_member",
            detail: "This person belongs to the business already. Change their role: `PATCH /api/v1/users/{id}`."
                .into(),
            pointer: Some("/email".into()),
            extra: Box::default(),
        });
    }
    let mut before = Statement::new("SELECT role FROM invitations WHERE business_id = ");
    before.bind(business()).push(" AND lower(email) = lower(").bind(given("email")).push(") FOR UPDATE");
    guard_role(tenant, before.row(tx)?.as_ref().and_then(|row| row.text(0)))?;
    let mut sql =
        Statement::new("INSERT INTO invitations (business_id, id, email, name, role, hash, expires_at) VALUES (");
    sql.bind(business())
        .push(", ")
        .bind(SqlValue::Uuid(Some(Uuid::now_v7())))
        .push(", ")
        .bind(given("email"))
        .push(", ");
    sql.bind(given("name")).push(", ").bind(given("role")).push(", ").bind(SqlValue::Bytes(token.to_vec()));
    sql.push(&format!(
        ", now() + interval '{days} days') ON CONFLICT (business_id, lower(email)) DO UPDATE SET email = excluded.email, \
         name = excluded.name, role = excluded.role, hash = excluded.hash, expires_at = excluded.expires_at, \
         version = invitations.version + 1, updated_at = now() RETURNING id"
    ));
    let id = sql.row(tx)?.and_then(|row| row.uuid(0));
    let id = id.ok_or_else(|| Error::Internal("an insert returned no row".into()))?;
    let row = crud::one(tx, tenant, &INVITATIONS, id, &Default::default())?;
    Ok((id, row.ok_or_else(|| crud::not_found(&INVITATIONS))?))
}

/// Returns the name of the tenant's business, for the email.
pub fn business_name(conn: &mut PgConnection, tenant: &Tenant) -> Result<String> {
    let mut sql = Statement::new("SELECT name FROM businesses WHERE id = ");
    let row = sql.bind(SqlValue::Uuid(Some(tenant.id()))).row(conn)?;
    Ok(row.as_ref().and_then(|row| row.text(0)).unwrap_or_default().to_owned())
}

/// Withdraws an invitation. Errors: 403 when its role is above the caller's.
fn delete(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, id: Uuid, expected: IfMatch) -> Result<()> {
    let mut sql = Statement::new("SELECT role FROM invitations WHERE business_id = ");
    sql.bind(SqlValue::Uuid(Some(tenant.id()))).push(" AND id = ").bind(SqlValue::Uuid(Some(id)));
    guard_role(tenant, sql.row(tx)?.as_ref().and_then(|row| row.text(0)))?;
    crud::delete(tx, tenant, resource, id, expected)
}

/// Whether the invited person has a password; `None`: the token is not valid (any more). Runs unscoped, because the
/// tenant is not known yet.
pub fn has_password(conn: &mut PgConnection, token: &Hash) -> Result<Option<bool>> {
    let mut sql = Statement::new(
        "SELECT (p.user_id IS NOT NULL)::int FROM invitations i LEFT JOIN users u ON lower(u.email) = lower(i.email) \
         LEFT JOIN passwords p ON p.user_id = u.id WHERE i.expires_at > now() AND i.hash = ",
    );
    Ok(sql.bind(SqlValue::Bytes(token.to_vec())).row(conn)?.and_then(|row| row.int(0)).map(|has| has == 1))
}

/// A person who accepted an invitation, and their membership.
pub struct Joined {
    pub user: Uuid,
    pub name: String,
    pub door: MembershipChoice,
}

/// Redeems the invitation of this token: the invited person becomes a member. A new person is called `name`, or else as
/// the invitation says; the `password` (hashed) is set if they have none. `None`: the token is not valid (any more).
/// Errors: 422 when they need a password, or have one already.
pub fn accept(tx: &mut Tx<'_>, token: &Hash, name: Option<&str>, password: Option<&str>) -> Result<Option<Joined>> {
    // Of two concurrent requests the second finds it deleted.
    let mut used = Statement::new("DELETE FROM invitations WHERE expires_at > now() AND hash = ");
    used.bind(SqlValue::Bytes(token.to_vec())).push(" RETURNING business_id, email, name, role");
    let Some(invitation) = used.row(tx)? else { return Ok(None) };
    let text = |index| invitation.text(index).unwrap_or_default();
    let business = invitation.uuid(0).unwrap_or_default();
    tx.set_context(business, None)?;
    let (user, name) = known_as(tx, text(1), name.unwrap_or(text(2)))?;
    tx.set_context(business, Some(Actor::User(user)))?;
    first_password(tx, user, password)?;
    let mut join = Statement::new("INSERT INTO memberships (business_id, id, user_id, role) VALUES (");
    join.bind(SqlValue::Uuid(Some(business))).push(", ").bind(SqlValue::Uuid(Some(Uuid::now_v7()))).push(", ");
    join.bind(SqlValue::Uuid(Some(user))).push(", ").bind(SqlValue::Text(Some(text(3).to_owned())));
    // A person who became a member in another way meanwhile keeps that role.
    join.push(") ON CONFLICT (business_id, user_id) DO NOTHING").run(tx)?;
    Ok(Some(Joined { user, name, door: door(tx, business, user)? }))
}

/// Sets the password of a person who has none; never replaces one.
fn first_password(tx: &mut Tx<'_>, user: Uuid, password: Option<&str>) -> Result<()> {
    let Some(password) = password else {
        let mut sql = Statement::new("SELECT user_id FROM passwords WHERE user_id = ");
        let has_one = sql.bind(SqlValue::Uuid(Some(user))).row(tx)?.is_some();
        return if has_one { Ok(()) } else { Err(needs_password()) };
    };
    let mut sql = Statement::new("INSERT INTO passwords (user_id, hash) VALUES (");
    sql.bind(SqlValue::Uuid(Some(user))).push(", ").bind(SqlValue::Text(Some(password.to_owned())));
    let set = sql.push(") ON CONFLICT (user_id) DO NOTHING").run(tx)? > 0;
    if set { Ok(()) } else { Err(keeps_password()) }
}

fn door(tx: &mut Tx<'_>, business: Uuid, user: Uuid) -> Result<MembershipChoice> {
    let doors = sessions::doors(tx, user)?;
    let found = doors.into_iter().find(|door| door.business == business);
    found.ok_or_else(sessions::not_a_member)
}

pub fn needs_password() -> Error {
    let detail = "You have no password yet. Choose one: `password`.";
    Error::Invalid(vec![FieldError::new("/password", "required", detail)])
}

pub fn keeps_password() -> Error {
    let detail = "You have a password already, and keep it. Leave `password` out.";
    Error::Invalid(vec![FieldError::new("/password", "has_password", detail)])
}
