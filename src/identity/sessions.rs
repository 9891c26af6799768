//! Sessions: a person signed in to one business, and the refresh tokens that keep them so.
//!
//! A refresh token is used once and gives a new one. One that comes back later was stolen from somebody, the person or the
//! thief, and it cannot be told from whom: the session ends (RFC 9700, section 4.14.2). For a moment the same token may
//! come twice, because answers get lost and tabs race; but only until a token that it gave was used. Of the tokens that it
//! gave then, one may go on: a second would be a chain of somebody else's, and nobody could tell whose.

use diesel::pg::PgConnection;
use uuid::Uuid;

use crate::auth::{Hash, Tenant, Ticket, secret};
use crate::db::{Cells, Statement, Tx, Value};
use crate::error::{Error, Result};
use crate::noun::Field;

/// How long a token that was used may come again, in seconds.
const GRACE_SECONDS: u32 = 10;
/// Sessions that a person may have in a business; who signs in once more ends the one that was used longest ago.
const MOST_LIVE: usize = 50;
/// Sessions whose time is over that a sign-in clears away, of whoever they were.
const MOST_SWEPT: usize = 100;
/// Sessions that a person is shown.
const MOST_SHOWN: usize = 100;
/// Characters of a user agent that are kept.
const LONGEST_AGENT: usize = 300;

/// What a person is shown of a session.
pub const FIELDS: [Field; 6] = [
    Field::ID,
    Field::text("user_agent", LONGEST_AGENT, r#""Mozilla/5.0""#, "The program that signed in."),
    Field::text("address", 60, r#""203.0.113.7""#, "Where from."),
    Field::CREATED_AT,
    Field::time("last_used_at", "When it was last used, to the minute.").read_only(),
    Field::time("expires_at", "When it ends unless it is renewed.").read_only(),
];

/// A person, as far as signing in is concerned.
pub struct Person {
    pub id: Uuid,
    pub name: String,
    pub email: String,
    /// Of the password; none: they have not set one yet.
    pub hash: Option<String>,
}

/// A business that a person may enter.
pub struct Door {
    pub business: Uuid,
    pub slug: String,
    pub name: String,
    pub role: String,
}

/// What came of a refresh token.
pub enum Renewal {
    Renewed(Ticket),
    /// No such token, or its session is over.
    Unknown,
    /// It had been used: the session is over now.
    Reused,
}

/// Whence a person signs in.
#[derive(Clone, Debug)]
pub struct Device {
    pub user_agent: Option<String>,
    pub address: Option<String>,
}

impl Device {
    pub fn new(user_agent: Option<&str>, address: Option<String>) -> Self {
        let short = |agent: &str| agent.chars().filter(|c| !c.is_control()).take(LONGEST_AGENT).collect();
        Self { user_agent: user_agent.map(short), address }
    }
}

/// A new refresh token: `rt_` and 256 random bits. Errors: 500.
pub fn generate() -> Result<String> {
    secret("rt_")
}

/// Who has this address. Before there is a tenant: it is on the way to one.
pub fn person(conn: &mut PgConnection, email: &str) -> Result<Option<Person>> {
    let mut sql = Statement::new(
        "SELECT u.id, u.name, p.hash, u.email FROM users u LEFT JOIN passwords p ON p.user_id = u.id WHERE lower(u.email) = lower(",
    );
    sql.bind(Value::text(email)).push(")");
    Ok(sql.row(conn)?.map(|row| Person {
        id: row.uuid(0).unwrap_or_default(),
        name: row.text(1).unwrap_or_default().to_owned(),
        hash: row.text(2).map(str::to_owned),
        email: row.text(3).unwrap_or_default().to_owned(),
    }))
}

/// The hash of the password of `user`. Before there is a tenant, or about the caller.
pub fn password(conn: &mut PgConnection, user: Uuid) -> Result<Option<String>> {
    let mut sql = Statement::new("SELECT hash FROM passwords WHERE user_id = ");
    sql.bind(Value::Uuid(Some(user)));
    Ok(sql.row(conn)?.and_then(|row| row.text(0).map(str::to_owned)))
}

/// The businesses that `user` belongs to, by name.
pub fn doors(conn: &mut PgConnection, user: Uuid) -> Result<Vec<Door>> {
    let mut sql = Statement::new(
        "SELECT b.id, b.slug, b.name, m.role FROM memberships m JOIN businesses b ON b.id = m.business_id \
         WHERE m.user_id = ",
    );
    sql.bind(Value::Uuid(Some(user))).push(" ORDER BY lower(b.name), b.slug");
    let text = |row: &Cells, index| row.text(index).unwrap_or_default().to_owned();
    let rows = sql.rows(conn)?;
    let door = |row: &Cells| Door {
        business: row.uuid(0).unwrap_or_default(),
        slug: text(row, 1),
        name: text(row, 2),
        role: text(row, 3),
    };
    Ok(rows.iter().map(door).collect())
}

/// Whether the password of `user` is still the one of `hash`, which was verified a while ago: from now on it stays so until
/// the end of the transaction. Without this a session could begin, or a password be set, by one that was just replaced.
pub fn still_has(tx: &mut Tx<'_>, user: Uuid, hash: &str) -> Result<bool> {
    let mut sql = Statement::new("SELECT user_id FROM passwords WHERE user_id = ");
    sql.bind(Value::Uuid(Some(user))).push(" AND hash = ").bind(Value::text(hash)).push(" FOR UPDATE");
    Ok(sql.row(tx)?.is_some())
}

/// Begins the session of `ticket`, which the token of hash `refresh` will renew. Errors: 403 when the person has left the
/// business meanwhile.
pub fn begin(tx: &mut Tx<'_>, ticket: Ticket, device: &Device, refresh: &Hash, days: u32) -> Result<()> {
    // Whoever ends the membership waits here, or is waited for.
    let mut member = Statement::new("SELECT id FROM memberships WHERE business_id = ");
    member.bind(Value::Uuid(Some(ticket.business))).push(" AND user_id = ").bind(Value::Uuid(Some(ticket.user)));
    if member.push(" FOR KEY SHARE").row(tx)?.is_none() {
        return Err(not_a_member());
    }
    make_room(tx, &ticket)?;
    let mut sql =
        Statement::new("INSERT INTO sessions (business_id, id, user_id, user_agent, address, expires_at) VALUES (");
    sql.bind(Value::Uuid(Some(ticket.business))).push(", ").bind(Value::Uuid(Some(ticket.session))).push(", ");
    sql.bind(Value::Uuid(Some(ticket.user))).push(", ").bind(Value::Text(device.user_agent.clone())).push(", ");
    sql.bind(Value::Text(device.address.clone())).push(&format!(", now() + interval '{days} days')"));
    sql.run(tx)?;
    add_token(tx, ticket, None, refresh)
}

pub fn not_a_member() -> Error {
    Error::Forbidden("You do not belong to this business.".into())
}

/// Ends the person's sessions that are one too many, and clears away some of anybody's whose time is over; their refresh
/// tokens go with them.
fn make_room(tx: &mut Tx<'_>, ticket: &Ticket) -> Result<()> {
    let kept = MOST_LIVE - 1;
    let mut old = Statement::new(
        "DELETE FROM sessions WHERE (business_id, id) IN (SELECT business_id, id FROM sessions WHERE business_id = ",
    );
    old.bind(Value::Uuid(Some(ticket.business))).push(" AND user_id = ").bind(Value::Uuid(Some(ticket.user)));
    old.push(&format!(" AND expires_at > now() ORDER BY last_used_at DESC, id DESC OFFSET {kept})")).run(tx)?;
    // What another sign-in clears away at this moment is not waited for.
    Statement::new(format!(
        "DELETE FROM sessions WHERE (business_id, id) IN (SELECT business_id, id FROM sessions \
         WHERE expires_at <= now() ORDER BY expires_at LIMIT {MOST_SWEPT} FOR UPDATE SKIP LOCKED)"
    ))
    .run(tx)?;
    Ok(())
}

/// Uses the token of hash `used` and gives that of hash `fresh` in its place.
pub fn renew(tx: &mut Tx<'_>, used: &Hash, fresh: &Hash, days: u32) -> Result<Renewal> {
    let mut sql = Statement::new("SELECT business_id, id, session_id FROM refresh_tokens WHERE hash = ");
    sql.bind(Value::Bytes(used.to_vec()));
    let Some((business, token, session)) =
        sql.row(tx)?.and_then(|row| Some((row.uuid(0)?, row.uuid(1)?, row.uuid(2)?)))
    else {
        return Ok(Renewal::Unknown);
    };
    // Whoever comes with a token of the same session waits here.
    let mut sql = Statement::new("SELECT user_id FROM sessions WHERE expires_at > now() AND business_id = ");
    sql.bind(Value::Uuid(Some(business))).push(" AND id = ").bind(Value::Uuid(Some(session))).push(" FOR UPDATE");
    let Some(user) = sql.row(tx)?.and_then(|row| row.uuid(0)) else { return Ok(Renewal::Unknown) };
    let ticket = Ticket { business, session, user };
    if !may_be_used(tx, ticket, token)? {
        end(tx, &ticket)?;
        return Ok(Renewal::Reused);
    }
    let mut sql = Statement::new("UPDATE refresh_tokens SET used_at = coalesce(used_at, now()) WHERE business_id = ");
    sql.bind(Value::Uuid(Some(business))).push(" AND id = ").bind(Value::Uuid(Some(token))).run(tx)?;
    let mut sql = Statement::new(format!(
        "UPDATE sessions SET last_used_at = now(), expires_at = now() + interval '{days} days' WHERE business_id = "
    ));
    sql.bind(Value::Uuid(Some(business))).push(" AND id = ").bind(Value::Uuid(Some(session))).run(tx)?;
    add_token(tx, ticket, Some(token), fresh)?;
    Ok(Renewal::Renewed(ticket))
}

/// Whether the token is unused, or was used a moment ago and nothing has come of it yet; and no other token that was given
/// for the same one was used.
fn may_be_used(tx: &mut Tx<'_>, ticket: Ticket, token: Uuid) -> Result<bool> {
    let used = |condition: &str| {
        format!(
            "EXISTS (SELECT FROM refresh_tokens o WHERE o.business_id = t.business_id AND o.session_id = t.session_id \
             AND {condition} AND o.used_at IS NOT NULL)"
        )
    };
    let (child, sibling) = (used("o.parent_id = t.id"), used("o.parent_id = t.parent_id AND o.id <> t.id"));
    let mut sql = Statement::new(format!(
        "SELECT (NOT {sibling} AND (used_at IS NULL OR (used_at > now() - interval '{GRACE_SECONDS} seconds' \
         AND NOT {child})))::int FROM refresh_tokens t WHERE business_id = "
    ));
    sql.bind(Value::Uuid(Some(ticket.business))).push(" AND id = ").bind(Value::Uuid(Some(token)));
    Ok(sql.row(tx)?.and_then(|row| row.int(0)) == Some(1))
}

fn add_token(tx: &mut Tx<'_>, ticket: Ticket, parent: Option<Uuid>, hash: &Hash) -> Result<()> {
    let mut sql = Statement::new("INSERT INTO refresh_tokens (business_id, id, session_id, parent_id, hash) VALUES (");
    sql.bind(Value::Uuid(Some(ticket.business))).push(", ").bind(Value::Uuid(Some(Uuid::now_v7()))).push(", ");
    sql.bind(Value::Uuid(Some(ticket.session))).push(", ").bind(Value::Uuid(parent)).push(", ");
    sql.bind(Value::Bytes(hash.to_vec())).push(")").run(tx)?;
    Ok(())
}

fn end(tx: &mut Tx<'_>, ticket: &Ticket) -> Result<()> {
    let mut sql = Statement::new("DELETE FROM sessions WHERE business_id = ");
    sql.bind(Value::Uuid(Some(ticket.business))).push(" AND id = ").bind(Value::Uuid(Some(ticket.session)));
    sql.run(tx)?;
    Ok(())
}

/// The sessions of `user` in the tenant's business, the last used first.
pub fn list(conn: &mut PgConnection, tenant: &Tenant, user: Uuid) -> Result<Vec<Cells>> {
    let columns: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
    let mut sql = Statement::new(format!("SELECT {} FROM sessions WHERE business_id = ", columns.join(", ")));
    sql.bind(Value::Uuid(Some(tenant.id()))).push(" AND user_id = ").bind(Value::Uuid(Some(user)));
    sql.push(&format!(" AND expires_at > now() ORDER BY last_used_at DESC, id LIMIT {MOST_SHOWN}"));
    Ok(sql.rows(conn)?)
}

/// Ends the session `id` of `user`. Errors: 404.
pub fn end_own(tx: &mut Tx<'_>, tenant: &Tenant, user: Uuid, id: Uuid) -> Result<()> {
    let mut sql = Statement::new("DELETE FROM sessions WHERE business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(" AND user_id = ").bind(Value::Uuid(Some(user)));
    sql.push(" AND id = ").bind(Value::Uuid(Some(id)));
    if sql.run(tx)? == 0 {
        return Err(Error::NotFound("You have no such session.".into()));
    }
    Ok(())
}

/// Gives `user` the password of `hash`, and ends their sessions in every business, except `kept`, and what they were mailed
/// to choose another.
pub fn set_password(tx: &mut Tx<'_>, user: Uuid, hash: &str, kept: Option<Uuid>) -> Result<()> {
    let mut sql = Statement::new("INSERT INTO passwords (user_id, hash) VALUES (");
    sql.bind(Value::Uuid(Some(user))).push(", ").bind(Value::text(hash));
    sql.push(") ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, changed_at = now()").run(tx)?;
    let mut sql = Statement::new("DELETE FROM password_tokens WHERE user_id = ");
    sql.bind(Value::Uuid(Some(user))).run(tx)?;
    let mut sql = Statement::new("DELETE FROM sessions WHERE user_id = ");
    sql.bind(Value::Uuid(Some(user))).push(" AND id IS DISTINCT FROM ").bind(Value::Uuid(kept)).run(tx)?;
    Ok(())
}
