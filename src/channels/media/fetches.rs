//! Files that are to be fetched, as rows, which a trigger makes of messages that name one: when each is due, who fetches it, and how that ended. A claim is a lease by the database's clock:
//! a file whose process died is fetched again, which does no harm.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Integer, Jsonb, Nullable, Text, Uuid as SqlUuid};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::store::{self, NewAttachment};
use crate::auth::Tenant;
use crate::background::Slots;
use crate::base::error::Result;
#[cfg(feature = "mutants")]
use crate::base::mutants::{self, Mutant};
use crate::channels::channel_queue::ChannelQueue;
use crate::db::{Statement, Tx};

/// Files by channel, also of a paused one, which messages still come in by; a lease is longer than a file may take.
static QUEUE: ChannelQueue =
    ChannelQueue { table: "media_fetches", open: "true", only_active: false, lease_seconds: 300 };
/// Pauses between tries are 4^n seconds, up to this n: an hour about.
const MAX_PAUSE_EXPONENT: u32 = 6;
/// Tries of a file that the channel says it does not have, a day about: it says the same of one that the access token may not see, and people
/// have to see to that.
pub const MAX_TRIES_OF_GONE: i32 = 28;
/// How long after its time one is given up that was never tried: its channel does not work, in days.
const UNTRIED_DAYS: u32 = 7;
/// Files given up per transaction.
const MAX_GIVEN_UP: u32 = 100;
/// Longest reason in characters.
const MAX_REASON_LEN: usize = 500;

/// How the fetching of a file ended without the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The channel does not have it any more.
    Gone,
    /// It is too large, or not what it was announced as.
    Refused,
}

impl Lost {
    fn state(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Refused => "refused",
        }
    }
}

/// A file that this process fetches, until its lease ends.
#[derive(Clone, Debug, QueryableByName)]
pub struct ClaimedFetch {
    #[diesel(sql_type = SqlUuid)]
    pub business_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub message_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub channel_id: Uuid,
    #[diesel(sql_type = Text)]
    pub channel_kind: String,
    #[diesel(sql_type = BigInt)]
    claim: i64,
    #[diesel(sql_type = Integer)]
    pub tries: i32,
    /// The kind of the message.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The channel's id of the file.
    #[diesel(sql_type = Text)]
    pub media_id: String,
    /// What the message says of it.
    #[diesel(sql_type = Nullable<Jsonb>)]
    pub media: Option<Json>,
    /// Whether its author has deleted the message since.
    #[diesel(sql_type = Bool)]
    pub is_revoked: bool,
}

/// Claims files that are due. Queries: one, whatever is due.
pub fn claim(tx: &mut Tx<'_>, free: usize, slots: &Slots) -> Result<Vec<ClaimedFetch>> {
    let mut sql = QUEUE.claiming(free, slots);
    sql.sql(
        "SELECT f.business_id, f.id, f.message_id, f.channel_id, c.kind AS channel_kind, f.claim, f.tries, f.media_id, m.kind, m.media, \
         m.revoked_at IS NOT NULL AS is_revoked FROM taken f \
         JOIN messages m ON m.business_id = f.business_id AND m.id = f.message_id \
         JOIN channels c ON c.business_id = f.business_id AND c.id = f.channel_id ORDER BY f.id",
    );
    Ok(sql.load(tx)?)
}

/// Gives a message its file, unless another process has claimed it since. Returns whether the file has a message: else its parts are not
/// needed. Queries: five.
pub fn succeed(tx: &mut Tx<'_>, tenant: &Tenant, fetch: &ClaimedFetch, file: &NewAttachment) -> Result<bool> {
    lock_message(tx, tenant, fetch)?;
    if !end(tx, tenant, fetch)? {
        return Ok(false);
    }
    store::insert(tx, tenant, file, None, true)?;
    let known = json!({ "mime_type": file.mime_type, "bytes": file.file.bytes });
    let mut sql = Statement::new(
        "UPDATE messages SET version = version + 1, updated_at = now(), media_state = 'stored', media = coalesce(media, '{}') || ",
    );
    sql.bind(known).sql("::jsonb, attachment_id = ").bind(file.id).append(still_pending(tenant, fetch));
    if sql.run(tx)? == 1 {
        return Ok(true);
    }
    // Its author deleted the message meanwhile.
    let mut sql = Statement::new("DELETE FROM attachments WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ").bind(file.id).run(tx)?;
    Ok(true)
}

/// Notes that a message will not have its file, and why. Queries: three.
pub fn lose(tx: &mut Tx<'_>, tenant: &Tenant, fetch: &ClaimedFetch, lost: Lost, reason: &str) -> Result<()> {
    lock_message(tx, tenant, fetch)?;
    if !end(tx, tenant, fetch)? {
        return Ok(());
    }
    let reason: String = reason.chars().take(MAX_REASON_LEN).collect();
    let mut sql = Statement::new("UPDATE messages SET version = version + 1, updated_at = now(), media_state = ");
    sql.bind(lost.state()).sql(", media = coalesce(media, '{}') || ").bind(json!({ "reason": reason })).sql("::jsonb");
    sql.append(still_pending(tenant, fetch)).run(tx)?;
    Ok(())
}

/// Has a file fetched again in a while. Queries: one.
pub fn try_again(tx: &mut Tx<'_>, tenant: &Tenant, fetch: &ClaimedFetch, reason: &str) -> Result<()> {
    let exponent = u32::try_from(fetch.tries - 1).unwrap_or_default().min(MAX_PAUSE_EXPONENT);
    let reason: String = reason.chars().take(MAX_REASON_LEN).collect();
    let mut sql = Statement::new("UPDATE media_fetches SET due_at = now() + interval '");
    sql.number(4_u32.pow(exponent)).sql(" seconds', error = ").bind(reason);
    sql.append(of_claim(tenant, fetch)).run(tx)?;
    Ok(())
}

/// Gives up files that their channels have forgotten. Returns whether there may be more. Queries: one.
pub fn give_up_expired(tx: &mut Tx<'_>) -> Result<bool> {
    let mut sql = Statement::new(
        "WITH expired AS (SELECT f.business_id, f.id FROM media_fetches f JOIN messages m ON m.business_id = f.business_id AND m.id = f.message_id \
         WHERE f.gives_up_at <= now() AND f.due_at <= now() AND (f.tries > 0 OR f.gives_up_at < now() - interval '",
    );
    sql.number(UNTRIED_DAYS).sql(" days') ORDER BY f.gives_up_at LIMIT ").number(MAX_GIVEN_UP).sql(
        " FOR NO KEY UPDATE OF m, f SKIP LOCKED), over AS (DELETE FROM media_fetches f USING expired e \
         WHERE f.business_id = e.business_id AND f.id = e.id RETURNING f.business_id, f.message_id, f.error) \
         UPDATE messages m SET version = m.version + 1, updated_at = now(), media_state = 'gone', \
         media = coalesce(m.media, '{}') || jsonb_build_object('reason', coalesce(o.error, 'The channel does not keep it any longer.')) \
         FROM over o WHERE m.business_id = o.business_id AND m.id = o.message_id AND m.media_state = 'pending'",
    );
    Ok(sql.run(tx)? == MAX_GIVEN_UP as usize)
}

/// Locks the message before its fetch, as what deletes it does. The file of an old message wakes nobody.
fn lock_message(tx: &mut Tx<'_>, tenant: &Tenant, fetch: &ClaimedFetch) -> Result<()> {
    let mut sql = Statement::new("SELECT origin = 'history' FROM messages WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ").bind(fetch.message_id).sql(" FOR NO KEY UPDATE");
    if sql.scalar::<bool>(tx)? == Some(true) { tx.set_silent(true) } else { Ok(()) }
}

/// Ends the fetching. Returns whether this process has it still.
fn end(tx: &mut Tx<'_>, tenant: &Tenant, fetch: &ClaimedFetch) -> Result<bool> {
    let mut sql = Statement::new("DELETE FROM media_fetches");
    Ok(sql.append(of_claim(tenant, fetch)).run(tx)? == 1)
}

fn of_claim(tenant: &Tenant, fetch: &ClaimedFetch) -> Statement {
    let mut sql = Statement::new(" WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ").bind(fetch.id);
    #[cfg(feature = "mutants")]
    if mutants::is(Mutant::FileClaimUnchecked) {
        return sql;
    }
    sql.sql(" AND claim = ").bind(fetch.claim);
    sql
}

fn still_pending(tenant: &Tenant, fetch: &ClaimedFetch) -> Statement {
    let mut sql = Statement::new(" WHERE media_state = 'pending' AND revoked_at IS NULL AND business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ").bind(fetch.message_id);
    sql
}
