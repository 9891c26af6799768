//! The synchronisation of a channel's templates, as a row: when it is due, who runs it, and how the last one ended.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::pg::PgConnection;
use diesel::sql_types::{BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::built_in;
use super::store::{self, TemplateKey};
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::base::timestamp;
use crate::channels::channels::{CHANNELS, WHATSAPP};
use crate::db::{Statement, Tx};
use crate::resource::crud;

/// Hours between synchronisations: what webhooks tell is known at once, this finds the rest.
const INTERVAL_HOURS: u32 = 24;
/// How long a process may take for one page before another process takes over, in minutes.
const LEASE_MINUTES: u32 = 5;
/// Tries of one that fails because of something that passes; then it waits for its next day.
const MAX_TRIES: i32 = 5;
/// Seconds until the second try; each further one waits four times as long.
const FIRST_PAUSE_SECONDS: u32 = 15;
/// Longest error in characters.
const MAX_ERROR_LEN: usize = 500;

/// How the synchronisation of a channel's templates stands.
#[derive(QueryableByName, Serialize, ToSchema)]
#[schema(examples(json!({ "state": "succeeded", "templates": 12, "error": null, "due_at": "2026-11-21T09:30:00.000000Z",
    "started_at": "2026-11-20T09:30:00.000000Z", "finished_at": "2026-11-20T09:30:02.000000Z" })))]
pub struct TemplateSync {
    /// `queued`, `running`, `succeeded` or `failed`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// How many templates the last one has found.
    #[diesel(sql_type = Nullable<Integer>)]
    #[schema(required = true, minimum = 0)]
    pub templates: Option<i32>,
    /// Why the last one failed.
    #[diesel(sql_type = Nullable<Text>)]
    #[schema(required = true)]
    pub error: Option<String>,
    /// When the next one begins.
    #[diesel(sql_type = Timestamptz)]
    #[serde(serialize_with = "timestamp::serialize")]
    pub due_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    #[serde(serialize_with = "timestamp::serialize_option")]
    #[schema(required = true)]
    pub started_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    #[serde(serialize_with = "timestamp::serialize_option")]
    #[schema(required = true)]
    pub finished_at: Option<DateTime<Utc>>,
}

/// Returns how the synchronisation of a channel stands; `None` before the first.
pub fn find(conn: &mut PgConnection, tenant: &Tenant, channel: Uuid) -> Result<Option<TemplateSync>> {
    let mut sql = Statement::new(
        "SELECT state, templates, error, due_at, started_at, finished_at FROM template_syncs WHERE business_id = ",
    );
    Ok(sql.bind(tenant.id()).sql(" AND channel_id = ").bind(channel).first(conn)?)
}

/// What decides whether a channel can be synchronised.
#[derive(QueryableByName)]
struct Requested {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Nullable<Text>)]
    account_id: Option<String>,
    #[diesel(sql_type = BigInt)]
    tokens: i64,
}

/// Requests a synchronisation. That of the loopback channel, which needs no network, is done at once. Errors: 404; 409 for a channel without
/// account or access token.
pub fn request(tx: &mut Tx<'_>, tenant: &Tenant, channel: Uuid) -> Result<TemplateSync> {
    let mut sql = Statement::new(
        "SELECT c.kind, c.account_id, (SELECT count(*) FROM channel_secrets s WHERE s.business_id = c.business_id AND s.channel_id = c.id \
         AND s.kind = 'access_token') AS tokens FROM channels c WHERE c.deleted_at IS NULL AND c.business_id = ",
    );
    let found =
        sql.bind(tenant.id()).sql(" AND c.id = ").bind(channel).sql(" FOR SHARE OF c").first::<Requested>(tx)?;
    let found = found.ok_or_else(|| crud::not_found(&CHANNELS))?;
    if found.kind == WHATSAPP && (found.account_id.is_none() || found.tokens == 0) {
        let detail = "The channel needs its `account_id` and an access token (`POST /channels/{id}/secrets`) for its templates to be read.";
        return Err(Error::conflict("channel_not_connected", detail));
    }
    let mut channels = Statement::new("SELECT ");
    channels.bind(channel).sql("::uuid");
    enqueue(tx, tenant, channels)?;
    if found.kind != WHATSAPP {
        let claimed = claim_one(tx, tenant, channel)?;
        if let Some(claimed) = claimed {
            let listed = store::write(tx, tenant, channel, &built_in::list(), claimed.started_at)?;
            succeed(tx, tenant, &claimed, &listed)?;
        }
    }
    find(tx, tenant, channel)?
        .ok_or_else(|| Error::Internal("a synchronisation that was requested is not there".into()))
}

/// Selects the channels of the business that share the account of `channel`.
pub fn of_account(tenant: &Tenant, channel: Uuid) -> Statement {
    let mut sql = Statement::new(
        "SELECT o.id FROM channels c JOIN channels o ON o.business_id = c.business_id AND (o.id = c.id OR o.account_id = c.account_id) \
         WHERE o.deleted_at IS NULL AND c.business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND c.id = ").bind(channel);
    sql
}

/// Requests a synchronisation of all channels of the account of `channel`. Queries: one.
pub fn request_account(tx: &mut Tx<'_>, tenant: &Tenant, channel: Uuid) -> Result<()> {
    enqueue(tx, tenant, of_account(tenant, channel))
}

/// Makes the synchronisations of channels due; one that runs is followed by another.
fn enqueue(tx: &mut Tx<'_>, tenant: &Tenant, channels: Statement) -> Result<()> {
    let mut sql = Statement::new("INSERT INTO template_syncs AS s (business_id, channel_id) SELECT ");
    sql.bind(tenant.id()).sql(", o.id FROM (").append(channels);
    sql.sql(
        ") o (id) ORDER BY o.id ON CONFLICT (business_id, channel_id) DO UPDATE SET due_at = least(s.due_at, clock_timestamp()), attempts = 0, \
         state = CASE WHEN s.leased_until > clock_timestamp() THEN s.state ELSE 'queued' END",
    );
    sql.run(tx)?;
    Ok(())
}

/// A synchronisation that this process runs, until its lease ends.
#[derive(Clone, Debug, QueryableByName)]
pub struct ClaimedSync {
    #[diesel(sql_type = SqlUuid)]
    pub business_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub channel_id: Uuid,
    #[diesel(sql_type = BigInt)]
    token: i64,
    #[diesel(sql_type = Integer)]
    attempts: i32,
    /// As of when it sees the templates.
    #[diesel(sql_type = Timestamptz)]
    pub started_at: DateTime<Utc>,
}

/// Claims synchronisations that are due, or whose process was cut off, of channels that can be synchronised, in all businesses. It reads
/// every channel, of which there are few: one that has no row here yet is due, too, so an index on `due_at` would find too little.
/// Queries: one.
pub fn claim(tx: &mut Tx<'_>, limit: u32) -> Result<Vec<ClaimedSync>> {
    let mut due = Statement::new(
        "SELECT c.business_id, c.id FROM channels c LEFT JOIN template_syncs s ON s.business_id = c.business_id AND s.channel_id = c.id \
         WHERE c.deleted_at IS NULL AND (coalesce(s.due_at, '-infinity') <= clock_timestamp() OR s.state = 'running') \
         AND coalesce(s.leased_until, '-infinity') <= clock_timestamp() \
         AND (c.kind <> 'whatsapp' OR (c.account_id IS NOT NULL AND EXISTS (SELECT FROM channel_secrets k WHERE k.business_id = c.business_id \
             AND k.channel_id = c.id AND k.kind = 'access_token'))) ORDER BY s.due_at NULLS FIRST, c.id LIMIT ",
    );
    due.number(limit);
    Ok(claiming(due).load(tx)?)
}

fn claim_one(tx: &mut Tx<'_>, tenant: &Tenant, channel: Uuid) -> Result<Option<ClaimedSync>> {
    let mut due = Statement::new("SELECT c.business_id, c.id FROM channels c WHERE c.business_id = ");
    due.bind(tenant.id()).sql(" AND c.id = ").bind(channel);
    Ok(claiming(due).first(tx)?)
}

/// Claims those of the channels `due` that no other process has. Where it is requested meanwhile, another one follows.
fn claiming(due: Statement) -> Statement {
    let mut sql = Statement::new(
        "INSERT INTO template_syncs AS s (business_id, channel_id, state, token, attempts, started_at, leased_until, due_at) \
         SELECT d.business_id, d.id, 'running', 1, 1, clock_timestamp(), clock_timestamp() + interval '",
    );
    sql.number(LEASE_MINUTES)
        .sql(" minutes', clock_timestamp() + interval '")
        .number(INTERVAL_HOURS)
        .sql(" hours' FROM (");
    sql.append(due).sql(
        ") d (business_id, id) ON CONFLICT (business_id, channel_id) DO UPDATE SET state = 'running', token = s.token + 1, \
         attempts = s.attempts + 1, started_at = excluded.started_at, leased_until = excluded.leased_until, due_at = excluded.due_at \
         WHERE coalesce(s.leased_until, '-infinity') <= clock_timestamp() \
         RETURNING s.business_id, s.channel_id, s.token, s.attempts, s.started_at",
    );
    sql
}

/// Renews the lease of a synchronisation. Returns whether this process has it still. Queries: one.
pub fn renew(tx: &mut Tx<'_>, tenant: &Tenant, claimed: &ClaimedSync) -> Result<bool> {
    let mut sql = Statement::new("UPDATE template_syncs SET leased_until = clock_timestamp() + interval '");
    sql.number(LEASE_MINUTES).sql(" minutes'").append(of_claim(tenant, claimed));
    Ok(sql.run(tx)? == 1)
}

/// Ends a synchronisation that has read all: what it did not find is gone from the channel.
pub fn succeed(tx: &mut Tx<'_>, tenant: &Tenant, claimed: &ClaimedSync, listed: &[TemplateKey]) -> Result<()> {
    let mut sql = Statement::new(
        "UPDATE template_syncs SET state = CASE WHEN due_at <= clock_timestamp() THEN 'queued' ELSE 'succeeded' END, error = NULL, attempts = 0, \
         leased_until = NULL, finished_at = clock_timestamp(), templates = ",
    );
    sql.bind(listed.len() as i64).append(of_claim(tenant, claimed));
    if sql.run(tx)? == 1 {
        store::mark_missing(tx, tenant, claimed.channel_id, listed, claimed.started_at)?;
    }
    Ok(())
}

/// Ends a synchronisation that failed; where `passes`, it is tried again in a while. Queries: one.
pub fn fail(tx: &mut Tx<'_>, tenant: &Tenant, claimed: &ClaimedSync, error: &str, passes: bool) -> Result<()> {
    let error: String = error.chars().take(MAX_ERROR_LEN).collect();
    let mut sql = Statement::new(
        "UPDATE template_syncs SET state = 'failed', leased_until = NULL, finished_at = clock_timestamp(), error = ",
    );
    sql.bind(error);
    if passes && claimed.attempts < MAX_TRIES {
        let pause = FIRST_PAUSE_SECONDS * 4_u32.pow(claimed.attempts.clamp(1, MAX_TRIES) as u32 - 1);
        sql.sql(", due_at = least(due_at, clock_timestamp() + interval '").number(pause).sql(" seconds')");
    } else {
        sql.sql(", attempts = 0");
    }
    sql.append(of_claim(tenant, claimed)).run(tx)?;
    Ok(())
}

fn of_claim(tenant: &Tenant, claimed: &ClaimedSync) -> Statement {
    let mut sql = Statement::new(" WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND channel_id = ").bind(claimed.channel_id).sql(" AND token = ").bind(claimed.token);
    sql
}
