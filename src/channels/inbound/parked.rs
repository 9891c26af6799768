//! Updates that are not applied: they wait for their message, or failed.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Jsonb, Text, Timestamptz, Uuid as SqlUuid};
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
const MAX_ERROR_LEN: usize = 500;

/// An update to be parked.
pub struct Parked<'a> {
    pub channel: Uuid,
    /// What it is, as the resource of inbound updates names it.
    pub kind: &'static str,
    pub received_at: DateTime<Utc>,
    /// All that is needed to apply it.
    pub payload: &'a Json,
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

/// The beginning of the INSERT, up to `waits_for`, `error` and `expires_at`.
fn insert(tenant: &Tenant, update: &Parked<'_>, state: &'static str) -> Statement {
    let mut digest = Sha256::new_with_prefix(update.channel.as_bytes());
    digest.update(update.payload.to_string());
    let mut sql = Statement::new(
        "INSERT INTO inbound_updates (business_id, id, channel_id, kind, state, digest, received_at, payload, waits_for, error, expires_at) VALUES (",
    );
    sql.bind(tenant.id())
        .sql(", ")
        .bind(Uuid::now_v7())
        .sql(", ")
        .bind(update.channel)
        .sql(", ")
        .bind(update.kind)
        .sql(", ");
    sql.bind(state).sql(", ").bind(digest.finalize().to_vec()).sql(", ").bind(update.received_at).sql(", ");
    sql.bind(update.payload.clone()).sql(", ");
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
}

/// Takes what waits for messages of these ids, the oldest first. Queries: one.
pub fn take(tx: &mut Tx<'_>, tenant: &Tenant, external_ids: Vec<String>) -> Result<Vec<Awaited>> {
    let mut sql = Statement::new("WITH awaited AS (DELETE FROM inbound_updates WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND waits_for = ANY(").bind(external_ids);
    sql.sql(
        ") RETURNING channel_id, kind, waits_for, received_at, payload, digest) \
         SELECT channel_id, kind, waits_for, received_at, payload FROM awaited ORDER BY received_at, digest",
    );
    Ok(sql.load(tx)?)
}
