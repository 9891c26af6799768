//! Updates that are not applied: they wait for their message, or failed.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, Jsonb, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::{Statement, Tx};

/// How long an update waits for its message, in days: as long as WhatsApp repeats what was not acknowledged.
const WAITING_DAYS: u32 = 7;
/// How long one that failed can be applied again, in days.
const FAILED_DAYS: u32 = 30;
/// Longest error in characters.
pub(super) const MAX_ERROR_LEN: usize = 500;

/// An update to be parked.
pub struct Parked<'a> {
    pub channel: Uuid,
    /// What it is, as the resource of inbound updates names it.
    pub kind: &'a str,
    pub received_at: DateTime<Utc>,
    /// All that is needed to apply it.
    pub payload: &'a Json,
    /// Hashes of the people that it is about.
    pub people: &'a [String],
}

/// Parks an update until the message of this id is there. One that waits already is left alone. Queries: one.
pub fn wait(tx: &mut Tx<'_>, tenant: &Tenant, update: &Parked<'_>, waits_for: &str) -> Result<()> {
    let mut sql = insert(tenant, update, "waiting");
    sql.bind(waits_for)
        .sql(", NULL, now() + interval '")
        .number(WAITING_DAYS)
        .sql(" days') ON CONFLICT (business_id, digest) DO NOTHING");
    sql.run(tx)?;
    Ok(())
}

/// Parks an update that failed. Queries: one.
pub fn fail(tx: &mut Tx<'_>, tenant: &Tenant, update: &Parked<'_>, error: &str) -> Result<()> {
    let error: String = error.chars().take(MAX_ERROR_LEN).collect();
    let mut sql = insert(tenant, update, "failed");
    sql.sql("NULL, ").bind(error).sql(", now() + interval '").number(FAILED_DAYS);
    sql.sql(
        " days') ON CONFLICT (business_id, digest) DO UPDATE SET attempts = inbound_updates.attempts + 1, error = excluded.error, \
         version = inbound_updates.version + 1, updated_at = now()",
    );
    sql.run(tx)?;
    Ok(())
}

/// Forgets an update that failed before and is applied now. Queries: one.
pub fn forget(tx: &mut Tx<'_>, tenant: &Tenant, channel: Uuid, payload: &Json) -> Result<()> {
    let mut sql = Statement::new("DELETE FROM inbound_updates WHERE state = 'failed' AND business_id = ");
    sql.bind(tenant.id()).sql(" AND digest = ").bind(digest(channel, payload)).run(tx)?;
    Ok(())
}

fn digest(channel: Uuid, payload: &Json) -> Vec<u8> {
    Sha256::new_with_prefix(channel.as_bytes()).chain_update(payload.to_string()).finalize().to_vec()
}

/// The beginning of the INSERT, up to `waits_for`, `error` and `expires_at`.
fn insert(tenant: &Tenant, update: &Parked<'_>, state: &'static str) -> Statement {
    let mut sql = Statement::new(
        "INSERT INTO inbound_updates (business_id, id, channel_id, kind, state, digest, received_at, payload, people, waits_for, error, expires_at) VALUES (",
    );
    sql.bind(tenant.id())
        .sql(", ")
        .bind(Uuid::now_v7())
        .sql(", ")
        .bind(update.channel)
        .sql(", ")
        .bind(update.kind.to_owned())
        .sql(", ");
    sql.bind(state).sql(", ").bind(digest(update.channel, update.payload)).sql(", ").bind(update.received_at).sql(", ");
    sql.bind(update.payload.clone()).sql(", ").bind(update.people.to_vec()).sql(", ");
    sql
}

/// An update whose message has come.
#[derive(QueryableByName)]
pub struct Awaited {
    #[diesel(sql_type = SqlUuid)]
    pub channel_id: Uuid,
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Text)]
    pub waits_for: String,
    #[diesel(sql_type = Timestamptz)]
    pub received_at: DateTime<Utc>,
    #[diesel(sql_type = Jsonb)]
    pub payload: Json,
    #[diesel(sql_type = Array<Text>)]
    pub people: Vec<String>,
    /// The business portfolio of the channel, within which ids of users are unique.
    #[diesel(sql_type = Text)]
    pub scope: String,
}

/// Takes what waits for messages of these ids, the oldest first. Queries: one.
pub fn take(tx: &mut Tx<'_>, tenant: &Tenant, external_ids: Vec<String>) -> Result<Vec<Awaited>> {
    let mut sql = Statement::new("WITH awaited AS (DELETE FROM inbound_updates WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND waits_for = ANY(").bind(external_ids);
    sql.sql(
        ") RETURNING channel_id, kind, waits_for, received_at, payload, people, digest) \
         SELECT a.channel_id, a.kind, a.waits_for, a.received_at, a.payload, a.people, coalesce(c.portfolio_id, '') AS scope \
         FROM awaited a JOIN channels c ON c.id = a.channel_id AND c.business_id = ",
    );
    sql.bind(tenant.id()).sql(" ORDER BY a.received_at, a.digest");
    Ok(sql.load(tx)?)
}
