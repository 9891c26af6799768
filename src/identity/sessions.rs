//! Sessions: a person signed in to one business, and the refresh tokens which extend the session.
//!
//! A refresh token is used once and yields a new one. Its later reuse means that it was stolen, by the earlier or the
//! later user: the session ends (RFC 9700, section 4.14.2). During a grace period the same token may be used twice,
//! because responses get lost and tabs race; but only until a token which it yielded was used. Of the tokens which it
//! yielded then, one may be used: a second would start a chain of unknown origin.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::pg::PgConnection;
use diesel::sql_types::Bool;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::device::Device;
use super::membership_choice::not_a_member;
use crate::auth::{Hash, SessionClaims, Tenant, secret};
use crate::base::error::{Error, Result};
use crate::base::timestamp;
use crate::db::schema::{refresh_tokens, sessions};
use crate::db::{Statement, Tx};

/// Grace period for using a token again, in seconds.
const GRACE_SECONDS: u32 = 10;
/// Maximum number of a person's sessions in a business; one more sign-in ends the least recently used.
const MAX_SESSIONS: u32 = 50;
/// Expired sessions, of any person, which a sign-in deletes.
const MAX_PURGED: u32 = 100;
/// Maximum number of sessions listed.
const MAX_LISTED: u32 = 100;

/// Result of a token refresh.
pub enum Renewal {
    Renewed(SessionClaims),
    /// Unknown token, or its session is over.
    Unknown,
    /// The token was used before; its session was ended.
    Reused,
}

/// Generates a refresh token: `rt_` and 256 random bits. Errors: 500.
pub fn generate() -> Result<String> {
    secret("rt_")
}

/// Begins the session of `claims`, with the refresh token of hash `refresh`. Errors: 403 when the person has left the
/// business meanwhile.
pub fn begin(tx: &mut Tx<'_>, claims: SessionClaims, device: &Device, refresh: &Hash, days: u32) -> Result<()> {
    // Serializes with the end of the membership.
    let mut member = Statement::new("SELECT id FROM memberships WHERE business_id = ");
    member.bind(claims.business).sql(" AND user_id = ").bind(claims.user);
    if member.sql(" FOR KEY SHARE").scalar::<Uuid>(tx)?.is_none() {
        return Err(not_a_member());
    }
    make_room(tx, &claims)?;
    let mut sql =
        Statement::new("INSERT INTO sessions (business_id, id, user_id, user_agent, address, expires_at) VALUES (");
    sql.bind(claims.business).sql(", ").bind(claims.session).sql(", ");
    sql.bind(claims.user).sql(", ").bind(device.user_agent.clone()).sql(", ");
    sql.bind(device.address.clone()).sql(", now() + interval '").number(days).sql(" days')");
    sql.run(tx)?;
    add_token(tx, claims, None, refresh)
}

/// Ends the person's least recently used sessions beyond the limit, and deletes some expired ones of any person; their
/// refresh tokens are deleted with them.
fn make_room(tx: &mut Tx<'_>, claims: &SessionClaims) -> Result<()> {
    let mut old = Statement::new(
        "DELETE FROM sessions WHERE (business_id, id) IN (SELECT business_id, id FROM sessions WHERE business_id = ",
    );
    old.bind(claims.business).sql(" AND user_id = ").bind(claims.user);
    old.sql(" AND expires_at > now() ORDER BY last_used_at DESC, id DESC OFFSET ").number(MAX_SESSIONS - 1);
    old.sql(")").run(tx)?;
    // Skips what a concurrent sign-in deletes.
    let mut expired = Statement::new(
        "DELETE FROM sessions WHERE (business_id, id) IN (SELECT business_id, id FROM sessions \
         WHERE expires_at <= now() ORDER BY expires_at LIMIT ",
    );
    expired.number(MAX_PURGED).sql(" FOR UPDATE SKIP LOCKED)").run(tx)?;
    Ok(())
}

/// A refresh token that a client presents.
#[derive(QueryableByName)]
#[diesel(table_name = refresh_tokens)]
struct PresentedToken {
    business_id: Uuid,
    id: Uuid,
    session_id: Uuid,
}

/// Redeems the token of hash `used` and stores that of hash `fresh` in its place.
pub fn renew(tx: &mut Tx<'_>, used: &Hash, fresh: &Hash, days: u32) -> Result<Renewal> {
    let mut sql = Statement::new("SELECT business_id, id, session_id FROM refresh_tokens WHERE hash = ");
    sql.bind(used.to_vec());
    let Some(presented) = sql.first::<PresentedToken>(tx)? else { return Ok(Renewal::Unknown) };
    let PresentedToken { business_id: business, id: token, session_id: session } = presented;
    // Serializes refreshes of the same session.
    let mut sql = Statement::new("SELECT user_id FROM sessions WHERE expires_at > now() AND business_id = ");
    sql.bind(business).sql(" AND id = ").bind(session).sql(" FOR UPDATE");
    let Some(user) = sql.scalar::<Uuid>(tx)? else { return Ok(Renewal::Unknown) };
    let claims = SessionClaims { business, session, user };
    if !may_be_used(tx, claims, token)? {
        end(tx, &claims)?;
        return Ok(Renewal::Reused);
    }
    let mut sql = Statement::new("UPDATE refresh_tokens SET used_at = coalesce(used_at, now()) WHERE business_id = ");
    sql.bind(business).sql(" AND id = ").bind(token).run(tx)?;
    let mut sql = Statement::new("UPDATE sessions SET last_used_at = now(), expires_at = now() + interval '");
    sql.number(days).sql(" days' WHERE business_id = ");
    sql.bind(business).sql(" AND id = ").bind(session).run(tx)?;
    add_token(tx, claims, Some(token), fresh)?;
    Ok(Renewal::Renewed(claims))
}

/// Whether the token is unused, or was used within the grace period and none of the tokens which it yielded was used;
/// and no other token with the same parent was used.
fn may_be_used(tx: &mut Tx<'_>, claims: SessionClaims, token: Uuid) -> Result<bool> {
    let mut sql = Statement::new(
        "SELECT NOT EXISTS (
             SELECT FROM refresh_tokens o WHERE o.business_id = t.business_id AND o.session_id = t.session_id
             AND o.parent_id = t.parent_id AND o.id <> t.id AND o.used_at IS NOT NULL)
         AND (used_at IS NULL OR (used_at > now() - interval '",
    );
    sql.number(GRACE_SECONDS).sql(
        " seconds' AND NOT EXISTS (
             SELECT FROM refresh_tokens o WHERE o.business_id = t.business_id AND o.session_id = t.session_id
             AND o.parent_id = t.id AND o.used_at IS NOT NULL)))
         FROM refresh_tokens t WHERE business_id = ",
    );
    sql.bind(claims.business).sql(" AND id = ").bind(token);
    Ok(sql.scalar(tx)?.unwrap_or(false))
}

fn add_token(tx: &mut Tx<'_>, claims: SessionClaims, parent: Option<Uuid>, hash: &Hash) -> Result<()> {
    let mut sql = Statement::new("INSERT INTO refresh_tokens (business_id, id, session_id, parent_id, hash) VALUES (");
    sql.bind(claims.business).sql(", ").bind(Uuid::now_v7()).sql(", ");
    sql.bind(claims.session).sql(", ").bind(parent).sql(", ");
    sql.bind(hash.to_vec()).sql(")").run(tx)?;
    Ok(())
}

fn end(tx: &mut Tx<'_>, claims: &SessionClaims) -> Result<()> {
    let mut sql = Statement::new("DELETE FROM sessions WHERE business_id = ");
    sql.bind(claims.business).sql(" AND id = ").bind(claims.session);
    sql.run(tx)?;
    Ok(())
}

/// A session as its user sees it: a person signed in to a business.
#[derive(QueryableByName, Serialize, ToSchema)]
#[diesel(table_name = sessions)]
#[schema(description = "A person signed in to a business.")]
#[schema(examples(json!({
    "id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71", "user_agent": "Mozilla/5.0", "address": "203.0.113.7",
    "created_at": "2026-11-20T09:30:00.000000Z", "last_used_at": "2026-11-20T09:30:00.000000Z",
    "expires_at": "2026-12-20T09:30:00.000000Z", "current": true,
})))]
pub struct Session {
    /// UUIDv7, so it sorts by creation.
    id: Uuid,
    /// The program that signed in.
    #[schema(max_length = 300, required = true)]
    user_agent: Option<String>,
    /// Where from.
    #[schema(max_length = 60, required = true)]
    address: Option<String>,
    /// When it began.
    #[serde(serialize_with = "timestamp::serialize")]
    created_at: DateTime<Utc>,
    /// When it was last used, to the minute.
    #[serde(serialize_with = "timestamp::serialize")]
    last_used_at: DateTime<Utc>,
    /// When it ends unless it is renewed.
    #[serde(serialize_with = "timestamp::serialize")]
    expires_at: DateTime<Utc>,
    /// Whether it is the one that asks.
    #[diesel(sql_type = Bool)]
    current: bool,
}

/// Returns the sessions of `user` in the tenant's business, the most recently used first; `current` is the one that
/// asks.
pub fn list(conn: &mut PgConnection, tenant: &Tenant, user: Uuid, current: Uuid) -> Result<Vec<Session>> {
    let mut sql = Statement::new("SELECT id, user_agent, address, created_at, last_used_at, expires_at, id = ");
    sql.bind(current).sql(" AS current FROM sessions WHERE business_id = ").bind(tenant.id());
    sql.sql(" AND user_id = ").bind(user);
    sql.sql(" AND expires_at > now() ORDER BY last_used_at DESC, id LIMIT ").number(MAX_LISTED);
    Ok(sql.load(conn)?)
}

/// Ends the session `id` of `user`. Errors: 404.
pub fn end_own(tx: &mut Tx<'_>, tenant: &Tenant, user: Uuid, id: Uuid) -> Result<()> {
    let mut sql = Statement::new("DELETE FROM sessions WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND user_id = ").bind(user);
    sql.sql(" AND id = ").bind(id);
    if sql.run(tx)? == 0 {
        return Err(Error::NotFound("You have no such session.".into()));
    }
    Ok(())
}
