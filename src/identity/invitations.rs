//! Invitations: how people join by themselves. One is made for an address; who has that address already, here or in
//! another business, is neither shown nor taken over: they join when they accept.

use std::time::Duration;

use diesel::pg::PgConnection;
use uuid::Uuid;

use super::by_mail;
use super::memberships::guard_role;
use super::people::known_as;
use super::sessions::{self, Door};
use crate::auth::{Area, Business, Hash, Role, Tenant};
use crate::db::{Actor, Statement, Tx, Value};
use crate::error::{Error, Fault, Result};
use crate::http::precondition::IfMatch;
use crate::mail;
use crate::noun::store::{self, Row};
use crate::noun::{Change, Faults, Field, Hooks, Kind, Noun, Operations, Search, Sort, Writes};

pub static INVITATIONS: Noun = Noun {
    name: "invitation",
    plural: "invitations",
    schema: "Invitation",
    about: "People who were asked to join by mail and have not done so yet. A second one to the same address takes the place \
            of the first; one whose time is over stays until then, or until it is deleted.",
    table: "invitations",
    area: Area::People,
    fields: &[
        Field::ID,
        Field::new("email", Kind::Email, r#""bo@example.com""#, "Where the mail goes.").required().once(),
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
    writes: Writes { delete, ..Writes::PLAIN },
    creation: Some(by_mail::creation),
    ttl: Duration::from_secs(900),
    packed: false,
    ..Noun::BASE
};

fn prepare(change: &mut Change, _: &Business, faults: &mut Faults) {
    if change.text("email").is_some_and(|email| !mail::is_reachable(email)) {
        faults.field("email", "format", "`email` must be an address that mail can be sent to.");
    }
}

/// Invites whom `change` names: with the token of this hash, for `days`. Errors: 403 when the role is above the inviter's
/// own, or the one of the invitation that it replaces is; 409 for a member.
pub fn invite(tx: &mut Tx<'_>, tenant: &Tenant, change: &Change, token: &Hash, days: u32) -> Result<(Uuid, Row)> {
    guard_role(tenant, change.text("role"))?;
    let given = |name| change.get(name).cloned().unwrap_or(Value::Text(None));
    let business = || Value::Uuid(Some(tenant.id()));
    // Within the wall of this business, so of other people nothing is found, and nothing is told.
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
    sql.bind(business()).push(", ").bind(Value::Uuid(Some(Uuid::now_v7()))).push(", ").bind(given("email")).push(", ");
    sql.bind(given("name")).push(", ").bind(given("role")).push(", ").bind(Value::Bytes(token.to_vec()));
    sql.push(&format!(
        ", now() + interval '{days} days') ON CONFLICT (business_id, lower(email)) DO UPDATE SET email = excluded.email, \
         name = excluded.name, role = excluded.role, hash = excluded.hash, expires_at = excluded.expires_at, \
         version = invitations.version + 1, updated_at = now() RETURNING id"
    ));
    let id = sql.row(tx)?.and_then(|row| row.uuid(0));
    let id = id.ok_or_else(|| Error::Internal("an insert returned no row".into()))?;
    let row = store::one(tx, tenant, &INVITATIONS, id, &Default::default())?;
    Ok((id, row.ok_or_else(|| store::missing(&INVITATIONS))?))
}

/// The name of the tenant's business, for the mail.
pub fn business_name(conn: &mut PgConnection, tenant: &Tenant) -> Result<String> {
    let mut sql = Statement::new("SELECT name FROM businesses WHERE id = ");
    let row = sql.bind(Value::Uuid(Some(tenant.id()))).row(conn)?;
    Ok(row.as_ref().and_then(|row| row.text(0)).unwrap_or_default().to_owned())
}

/// Withdraws an invitation. Errors: 403 when its role is above that of whoever does.
fn delete(tx: &mut Tx<'_>, tenant: &Tenant, noun: &'static Noun, id: Uuid, expected: IfMatch) -> Result<()> {
    let mut sql = Statement::new("SELECT role FROM invitations WHERE business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(" AND id = ").bind(Value::Uuid(Some(id)));
    guard_role(tenant, sql.row(tx)?.as_ref().and_then(|row| row.text(0)))?;
    store::delete(tx, tenant, noun, id, expected)
}

/// Whether whom the token of this hash was sent to has a password; `None`: the token does not count (any more). Before
/// there is a tenant: it is on the way to one.
pub fn has_password(conn: &mut PgConnection, token: &Hash) -> Result<Option<bool>> {
    let mut sql = Statement::new(
        "SELECT (p.user_id IS NOT NULL)::int FROM invitations i LEFT JOIN users u ON lower(u.email) = lower(i.email) \
         LEFT JOIN passwords p ON p.user_id = u.id WHERE i.expires_at > now() AND i.hash = ",
    );
    Ok(sql.bind(Value::Bytes(token.to_vec())).row(conn)?.and_then(|row| row.int(0)).map(|has| has == 1))
}

/// Who joined, and where.
pub struct Joined {
    pub user: Uuid,
    pub name: String,
    pub door: Door,
}

/// Uses the invitation of this token up: whom it was sent to becomes a member. Who is new is called `name`, or else as the
/// invitation says; the `password` (hashed) becomes theirs if they have none. `None`: the token does not count (any more).
/// Errors: 422 when they need a password, or have one already.
pub fn accept(tx: &mut Tx<'_>, token: &Hash, name: Option<&str>, password: Option<&str>) -> Result<Option<Joined>> {
    // Of two who come at once, the second finds it gone.
    let mut used = Statement::new("DELETE FROM invitations WHERE expires_at > now() AND hash = ");
    used.bind(Value::Bytes(token.to_vec())).push(" RETURNING business_id, email, name, role");
    let Some(invitation) = used.row(tx)? else { return Ok(None) };
    let text = |index| invitation.text(index).unwrap_or_default();
    let business = invitation.uuid(0).unwrap_or_default();
    tx.tell_of(business, None)?;
    let (user, name) = known_as(tx, text(1), name.unwrap_or(text(2)))?;
    tx.tell_of(business, Some(Actor::User(user)))?;
    first_password(tx, user, password)?;
    let mut join = Statement::new("INSERT INTO memberships (business_id, id, user_id, role) VALUES (");
    join.bind(Value::Uuid(Some(business))).push(", ").bind(Value::Uuid(Some(Uuid::now_v7()))).push(", ");
    join.bind(Value::Uuid(Some(user))).push(", ").bind(Value::Text(Some(text(3).to_owned())));
    // Who was let in on another way meanwhile has the role that they were given there.
    join.push(") ON CONFLICT (business_id, user_id) DO NOTHING").run(tx)?;
    Ok(Some(Joined { user, name, door: door(tx, business, user)? }))
}

/// Sets the password of who has none; never another.
fn first_password(tx: &mut Tx<'_>, user: Uuid, password: Option<&str>) -> Result<()> {
    let Some(password) = password else {
        let mut sql = Statement::new("SELECT user_id FROM passwords WHERE user_id = ");
        let has_one = sql.bind(Value::Uuid(Some(user))).row(tx)?.is_some();
        return if has_one { Ok(()) } else { Err(needs_password()) };
    };
    let mut sql = Statement::new("INSERT INTO passwords (user_id, hash) VALUES (");
    sql.bind(Value::Uuid(Some(user))).push(", ").bind(Value::Text(Some(password.to_owned())));
    let set = sql.push(") ON CONFLICT (user_id) DO NOTHING").run(tx)? > 0;
    if set { Ok(()) } else { Err(keeps_password()) }
}

fn door(tx: &mut Tx<'_>, business: Uuid, user: Uuid) -> Result<Door> {
    let doors = sessions::doors(tx, user)?;
    let found = doors.into_iter().find(|door| door.business == business);
    found.ok_or_else(sessions::not_a_member)
}

pub fn needs_password() -> Error {
    let detail = "You have no password yet. Choose one: `password`.";
    Error::Invalid(vec![Fault::new("/password", "required", detail)])
}

pub fn keeps_password() -> Error {
    let detail = "You have a password already, and keep it. Leave `password` out.";
    Error::Invalid(vec![Fault::new("/password", "has_password", detail)])
}
