//! Sessions: a person signed in to one business, and the refresh tokens which extend the session.
//!
//! A refresh token is used once and yields a new one. Its later reuse means that it was stolen, by the earlier or the
//! later user: the session ends (RFC 9700, section 4.14.2). During a grace period the same token may be used twice,
//! because responses get lost and tabs race; but only until a token which it yielded was used. Of the tokens which it
//! yielded then, one may be used: a second would start a chain of unknown origin.

use diesel::pg::PgConnection;
use uuid::Uuid;

use crate::auth::{Hash, SessionClaims, Tenant, secret};
use crate::base::error::{Error, Result};
use crate::db::{RawRow, SqlValue, Statement, Tx};
use crate::resource::Field;

/// Grace period for using a token again, in seconds.
const GRACE_SECONDS: u32 = 10;
/// Maximum number of a person's sessions in a business; one more sign-in ends the least recently used.
const MAX_SESSIONS: usize = 50;
/// Expired sessions, of any person, which a sign-in deletes.
const MAX_PURGED: usize = 100;
/// Maximum number of sessions listed.
const MAX_LISTED: usize = 100;
/// Characters of a user agent which are stored.
const MAX_USER_AGENT_LEN: usize = 300;

/// Fields of a listed session.
pub const FIELDS: [Field; 6] = [
    Field::ID,
    Field::text("user_agent", MAX_USER_AGENT_LEN, r#""Mozilla/5.0""#, "The program that signed in."),
    Field::text("address", 60, r#""203.0.113.7""#, "Where from."),
    Field::CREATED_AT,
    Field::time("last_used_at", "When it was last used, to the minute.").read_only(),
    Field::time("expires_at", "When it ends unless it is renewed.").read_only(),
];

/// The data of a person which sign-in needs.
pub struct Person {
    pub id: Uuid,
    pub name: String,
    pub email: String,
    /// Hash of the password; `None`: no password is set yet.
    pub hash: Option<String>,
}

/// A business which a person may sign in to.
pub struct MembershipChoice {
    pub business: Uuid,
    pub slug: String,
    pub name: String,
    pub role: String,
}

/// Result of a token refresh.
pub enum Renewal {
    Renewed(SessionClaims),
    /// Unknown token, or its session is over.
    Unknown,
    /// The token was used before; its session was ended.
    Reused,
}

/// User agent and address of a client which signs in.
#[derive(Clone, Debug)]
pub struct Device {
    pub user_agent: Option<String>,
    pub address: Option<String>,
}

impl Device {
    pub fn new(user_agent: Option<&str>, address: Option<String>) -> Self {
        let short = |agent: &str| agent.chars().filter(|c| !c.is_control()).take(MAX_USER_AGENT_LEN).collect();
        Self { user_agent: user_agent.map(short), address }
    }
}

/// Generates a refresh token: `rt_` and 256 random bits. Errors: 500.
pub fn generate() -> Result<String> {
    secret("rt_")
}

/// Returns the person with this address. Runs unscoped, because the tenant is not known yet.
pub fn person(conn: &mut PgConnection, email: &str) -> Result<Option<Person>> {
    let mut sql = Statement::new(
        "SELECT u.id, u.name, p.hash, u.email FROM users u LEFT JOIN passwords p ON p.user_id = u.id WHERE lower(u.email) = lower(",
    );
    sql.bind(SqlValue::text(email)).push(")");
    Ok(sql.row(conn)?.map(|row| Person {
        id: row.uuid(0).unwrap_or_default(),
        name: row.text(1).unwrap_or_default().to_owned(),
        hash: row.text(2).map(str::to_owned),
        email: row.text(3).unwrap_or_default().to_owned(),
    }))
}

/// Returns the hash of the password of `user`. Runs unscoped, before the tenant is known or for the caller.
pub fn password(conn: &mut PgConnection, user: Uuid) -> Result<Option<String>> {
    let mut sql = Statement::new("SELECT hash FROM passwords WHERE user_id = ");
    sql.bind(SqlValue::Uuid(Some(user)));
    Ok(sql.row(conn)?.and_then(|row| row.text(0).map(str::to_owned)))
}

/// Returns the businesses to which `user` belongs, by name.
pub fn doors(conn: &mut PgConnection, user: Uuid) -> Result<Vec<MembershipChoice>> {
    let mut sql = Statement::new(
        "SELECT b.id, b.slug, b.name, m.role FROM memberships m JOIN businesses b ON b.id = m.business_id \
         WHERE m.user_id = ",
    );
    sql.bind(SqlValue::Uuid(Some(user))).push(" ORDER BY lower(b.name), b.slug");
    let text = |row: &RawRow, index| row.text(index).unwrap_or_default().to_owned();
    let rows = sql.rows(conn)?;
    let door = |row: &RawRow| MembershipChoice {
        business: row.uuid(0).unwrap_or_default(),
        slug: text(row, 1),
        name: text(row, 2),
        role: text(row, 3),
    };
    Ok(rows.iter().map(door).collect())
}

/// Whether the password of `user` is still that of `hash`, which was verified earlier, and locks it until the end of
/// the transaction. Otherwise a session could begin, or a password be set, with a password which was just replaced.
pub fn still_has(tx: &mut Tx<'_>, user: Uuid, hash: &str) -> Result<bool> {
    let mut sql = Statement::new("SELECT user_id FROM passwords WHERE user_id = ");
    sql.bind(SqlValue::Uuid(Some(user))).push(" AND hash = ").bind(SqlValue::text(hash)).push(" FOR UPDATE");
    Ok(sql.row(tx)?.is_some())
}

/// Begins the session of `ticket`, with the refresh token of hash `refresh`. Errors: 403 when the person has left the
/// business meanwhile.
pub fn begin(tx: &mut Tx<'_>, ticket: SessionClaims, device: &Device, refresh: &Hash, days: u32) -> Result<()> {
    // Serializes with the end of the membership.
    let mut member = Statement::new("SELECT id FROM memberships WHERE business_id = ");
    member.bind(SqlValue::Uuid(Some(ticket.business))).push(" AND user_id = ").bind(SqlValue::Uuid(Some(ticket.user)));
    if member.push(" FOR KEY SHARE").row(tx)?.is_none() {
        return Err(not_a_member());
    }
    make_room(tx, &ticket)?;
    let mut sql =
        Statement::new("INSERT INTO sessions (business_id, id, user_id, user_agent, address, expires_at) VALUES (");
    sql.bind(SqlValue::Uuid(Some(ticket.business))).push(", ").bind(SqlValue::Uuid(Some(ticket.session))).push(", ");
    sql.bind(SqlValue::Uuid(Some(ticket.user))).push(", ").bind(SqlValue::Text(device.user_agent.clone())).push(", ");
    sql.bind(SqlValue::Text(device.address.clone())).push(&format!(", now() + interval '{days} days')"));
    sql.run(tx)?;
    add_token(tx, ticket, None, refresh)
}

pub fn not_a_member() -> Error {
    Error::Forbidden("You do not belong to this business.".into())
}

/// Ends the person's least recently used sessions beyond the limit, and deletes some expired ones of any person; their
/// refresh tokens are deleted with them.
fn make_room(tx: &mut Tx<'_>, ticket: &SessionClaims) -> Result<()> {
    let kept = MAX_SESSIONS - 1;
    let mut old = Statement::new(
        "DELETE FROM sessions WHERE (business_id, id) IN (SELECT business_id, id FROM sessions WHERE business_id = ",
    );
    old.bind(SqlValue::Uuid(Some(ticket.business))).push(" AND user_id = ").bind(SqlValue::Uuid(Some(ticket.user)));
    old.push(&format!(" AND expires_at > now() ORDER BY last_used_at DESC, id DESC OFFSET {kept})")).run(tx)?;
    // Skips what a concurrent sign-in deletes.
    Statement::new(format!(
        "DELETE FROM sessions WHERE (business_id, id) IN (SELECT business_id, id FROM sessions \
         WHERE expires_at <= now() ORDER BY expires_at LIMIT {MAX_PURGED} FOR UPDATE SKIP LOCKED)"
    ))
    .run(tx)?;
    Ok(())
}

/// Redeems the token of hash `used` and stores that of hash `fresh` in its place.
pub fn renew(tx: &mut Tx<'_>, used: &Hash, fresh: &Hash, days: u32) -> Result<Renewal> {
    let mut sql = Statement::new("SELECT business_id, id, session_id FROM refresh_tokens WHERE hash = ");
    sql.bind(SqlValue::Bytes(used.to_vec()));
    let Some((business, token, session)) =
        sql.row(tx)?.and_then(|row| Some((row.uuid(0)?, row.uuid(1)?, row.uuid(2)?)))
    else {
        return Ok(Renewal::Unknown);
    };
    // Serializes refreshes of the same session.
    let mut sql = Statement::new("SELECT user_id FROM sessions WHERE expires_at > now() AND business_id = ");
    sql.bind(SqlValue::Uuid(Some(business))).push(" AND id = ").bind(SqlValue::Uuid(Some(session))).push(" FOR UPDATE");
    let Some(user) = sql.row(tx)?.and_then(|row| row.uuid(0)) else { return Ok(Renewal::Unknown) };
    let ticket = SessionClaims { business, session, user };
    if !may_be_used(tx, ticket, token)? {
        end(tx, &ticket)?;
        return Ok(Renewal::Reused);
    }
    let mut sql = Statement::new("UPDATE refresh_tokens SET used_at = coalesce(used_at, now()) WHERE business_id = ");
    sql.bind(SqlValue::Uuid(Some(business))).push(" AND id = ").bind(SqlValue::Uuid(Some(token))).run(tx)?;
    let mut sql = Statement::new(format!(
        "UPDATE sessions SET last_used_at = now(), expires_at = now() + interval '{days} days' WHERE business_id = "
    ));
    sql.bind(SqlValue::Uuid(Some(business))).push(" AND id = ").bind(SqlValue::Uuid(Some(session))).run(tx)?;
    add_token(tx, ticket, Some(token), fresh)?;
    Ok(Renewal::Renewed(ticket))
}

/// Whether the token is unused, or was used within the grace period and none of the tokens which it yielded was used;
/// and no other token with the same parent was used.
fn may_be_used(tx: &mut Tx<'_>, ticket: SessionClaims, token: Uuid) -> Result<bool> {
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
    sql.bind(SqlValue::Uuid(Some(ticket.business))).push(" AND id = ").bind(SqlValue::Uuid(Some(token)));
    Ok(sql.row(tx)?.and_then(|row| row.int(0)) == Some(1))
}

fn add_token(tx: &mut Tx<'_>, ticket: SessionClaims, parent: Option<Uuid>, hash: &Hash) -> Result<()> {
    let mut sql = Statement::new("INSERT INTO refresh_tokens (business_id, id, session_id, parent_id, hash) VALUES (");
    sql.bind(SqlValue::Uuid(Some(ticket.business))).push(", ").bind(SqlValue::Uuid(Some(Uuid::now_v7()))).push(", ");
    sql.bind(SqlValue::Uuid(Some(ticket.session))).push(", ").bind(SqlValue::Uuid(parent)).push(", ");
    sql.bind(SqlValue::Bytes(hash.to_vec())).push(")").run(tx)?;
    Ok(())
}

fn end(tx: &mut Tx<'_>, ticket: &SessionClaims) -> Result<()> {
    let mut sql = Statement::new("DELETE FROM sessions WHERE business_id = ");
    sql.bind(SqlValue::Uuid(Some(ticket.business))).push(" AND id = ").bind(SqlValue::Uuid(Some(ticket.session)));
    sql.run(tx)?;
    Ok(())
}

/// Returns the sessions of `user` in the tenant's business, the most recently used first.
pub fn list(conn: &mut PgConnection, tenant: &Tenant, user: Uuid) -> Result<Vec<RawRow>> {
    let columns: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
    let mut sql = Statement::new(format!("SELECT {} FROM sessions WHERE business_id = ", columns.join(", ")));
    sql.bind(SqlValue::Uuid(Some(tenant.id()))).push(" AND user_id = ").bind(SqlValue::Uuid(Some(user)));
    sql.push(&format!(" AND expires_at > now() ORDER BY last_used_at DESC, id LIMIT {MAX_LISTED}"));
    Ok(sql.rows(conn)?)
}

/// Ends the session `id` of `user`. Errors: 404.
pub fn end_own(tx: &mut Tx<'_>, tenant: &Tenant, user: Uuid, id: Uuid) -> Result<()> {
    let mut sql = Statement::new("DELETE FROM sessions WHERE business_id = ");
    sql.bind(SqlValue::Uuid(Some(tenant.id()))).push(" AND user_id = ").bind(SqlValue::Uuid(Some(user)));
    sql.push(" AND id = ").bind(SqlValue::Uuid(Some(id)));
    if sql.run(tx)? == 0 {
        return Err(Error::NotFound("You have no such session.".into()));
    }
    Ok(())
}

/// Sets the password of `user`, hashed, ends their sessions in every business except `kept`, and deletes their password
/// reset tokens.
pub fn set_password(tx: &mut Tx<'_>, user: Uuid, hash: &str, kept: Option<Uuid>) -> Result<()> {
    let mut sql = Statement::new("INSERT INTO passwords (user_id, hash) VALUES (");
    sql.bind(SqlValue::Uuid(Some(user))).push(", ").bind(SqlValue::text(hash));
    sql.push(") ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, changed_at = now()").run(tx)?;
    let mut sql = Statement::new("DELETE FROM password_tokens WHERE user_id = ");
    sql.bind(SqlValue::Uuid(Some(user))).run(tx)?;
    let mut sql = Statement::new("DELETE FROM sessions WHERE user_id = ");
    sql.bind(SqlValue::Uuid(Some(user))).push(" AND id IS DISTINCT FROM ").bind(SqlValue::Uuid(kept)).run(tx)?;
    Ok(())
}
