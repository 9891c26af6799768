//! Read receipts as rows: which message is due to be marked as read, and which process marks it. A conversation has one, so that a newer message
//! takes the place of an older one, and none is marked twice. A claim is a lease by the database's clock: what a process that died has left
//! is claimed again.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::newest_message::newest_message;
use crate::auth::Tenant;
use crate::background::Slots;
use crate::base::error::Result;
use crate::channels::channel_queue::ChannelQueue;
use crate::db::{Statement, Tx};

/// Receipts by channel; a lease is longer than a channel may take to answer. Those of a paused channel are over, and do not wait.
static QUEUE: ChannelQueue =
    ChannelQueue { table: "read_receipts", open: "due_at IS NOT NULL", only_active: false, lease_seconds: 60 };
/// How long a receipt is worth sending, in hours: one that is later is dropped.
const MAX_AGE_HOURS: u32 = 24;
/// Tries of one that fails because of something that passes.
const MAX_TRIES: i32 = 4;
/// Seconds until the second try; each further one waits four times as long.
const FIRST_PAUSE_SECONDS: i64 = 5;

/// A receipt that this process sends, until its lease ends.
#[derive(Clone, Debug, QueryableByName)]
pub struct ClaimedReceipt {
    #[diesel(sql_type = SqlUuid)]
    pub business_id: Uuid,
    /// Of the conversation.
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub channel_id: Uuid,
    /// The channel's id of the message.
    #[diesel(sql_type = Nullable<Text>)]
    pub external_id: Option<String>,
    #[diesel(sql_type = Integer)]
    tries: i32,
    /// Number of the claim: a newer message, and another process that claims it, have a larger one.
    #[diesel(sql_type = BigInt)]
    claim: i64,
    /// Whether it is still to be sent: not of a channel that sends none or nothing, and not too late.
    #[diesel(sql_type = Bool)]
    is_wanted: bool,
}

/// Queues the receipt of the newest message that a member has read, which had come in until `until`; none where the channel sends none, and
/// where that message, or a newer one, has had its turn. Queries: one.
pub fn queue(tx: &mut Tx<'_>, tenant: &Tenant, conversation: Uuid, until: DateTime<Utc>) -> Result<()> {
    let mut sql = Statement::new(
        "INSERT INTO read_receipts AS r (business_id, id, channel_id, message_id, sent_at) \
         SELECT v.business_id, v.id, c.id, m.id, m.sent_at FROM conversations v JOIN channels c ON c.business_id = v.business_id \
         AND c.id = v.channel_id AND c.deleted_at IS NULL AND c.sends_read_receipts CROSS JOIN LATERAL (",
    );
    sql.append(newest_message(Some(until))).sql(") m WHERE v.business_id = ").bind(tenant.id());
    sql.sql(" AND v.id = ").bind(conversation).sql(
        " ON CONFLICT (business_id, id) DO UPDATE SET channel_id = excluded.channel_id, message_id = excluded.message_id, \
         sent_at = excluded.sent_at, queued_at = excluded.queued_at, due_at = excluded.due_at, tries = 0, claim = r.claim + 1 \
         WHERE (r.sent_at, r.message_id) < (excluded.sent_at, excluded.message_id)",
    );
    sql.run(tx)?;
    Ok(())
}

/// Moves the receipt of the conversation `from` to `into`, whose messages are one conversation from now on. Queries: one.
pub fn merge_into(tx: &mut Tx<'_>, tenant: &Tenant, from: Uuid, into: Uuid) -> Result<()> {
    let mut sql = Statement::new("UPDATE read_receipts SET id = ");
    sql.bind(into).sql(" WHERE business_id = ").bind(tenant.id()).sql(" AND id = ").bind(from);
    sql.sql(" AND NOT EXISTS (SELECT FROM read_receipts o WHERE o.business_id = ").bind(tenant.id());
    sql.sql(" AND o.id = ").bind(into).sql(")").run(tx)?;
    Ok(())
}

/// Claims due receipts, of each channel as many as it has free slots, in all businesses; those that are not wanted any more are over.
/// Queries: two.
pub fn claim(tx: &mut Tx<'_>, free: usize, slots: &Slots) -> Result<Vec<ClaimedReceipt>> {
    let claimed = claiming(free, slots).load::<ClaimedReceipt>(tx)?;
    let (wanted, unwanted): (Vec<_>, Vec<_>) = claimed.into_iter().partition(|receipt| receipt.is_wanted);
    if !unwanted.is_empty() {
        let mut sql = Statement::new("UPDATE read_receipts r SET due_at = NULL FROM unnest(");
        sql.bind(unwanted.iter().map(|receipt| receipt.business_id).collect::<Vec<_>>()).sql(", ");
        sql.bind(unwanted.iter().map(|receipt| receipt.id).collect::<Vec<_>>());
        sql.sql(") AS u (business_id, id) WHERE r.business_id = u.business_id AND r.id = u.id").run(tx)?;
    }
    Ok(wanted)
}

fn claiming(free: usize, slots: &Slots) -> Statement {
    let mut sql = QUEUE.claiming(free, slots);
    sql.sql(
        "SELECT r.business_id, r.id, r.channel_id, r.tries, r.claim, m.external_id, \
         coalesce(c.state = 'active' AND c.sends_read_receipts, false) AND m.external_id IS NOT NULL AND r.tries <= ",
    );
    sql.number(MAX_TRIES).sql(" AND r.queued_at > clock_timestamp() - interval '").number(MAX_AGE_HOURS).sql(
        " hours' AS is_wanted FROM taken r LEFT JOIN channels c ON c.business_id = r.business_id AND c.id = r.channel_id AND c.deleted_at IS NULL \
         LEFT JOIN messages m ON m.business_id = r.business_id AND m.id = r.message_id AND m.deleted_at IS NULL",
    );
    sql
}

/// Ends a receipt that was sent, or that fails again. Queries: one.
pub fn finish(tx: &mut Tx<'_>, tenant: &Tenant, claimed: &ClaimedReceipt) -> Result<()> {
    let mut sql = Statement::new("UPDATE read_receipts SET due_at = NULL");
    sql.append(of_claim(tenant, claimed)).run(tx)?;
    Ok(())
}

/// Has a receipt that failed because of something that passes sent again in a while, or ends it after some tries. Queries: one.
pub fn try_again(tx: &mut Tx<'_>, tenant: &Tenant, claimed: &ClaimedReceipt) -> Result<()> {
    if claimed.tries >= MAX_TRIES {
        return finish(tx, tenant, claimed);
    }
    let pause = FIRST_PAUSE_SECONDS * 4_i64.pow(claimed.tries.clamp(1, MAX_TRIES) as u32 - 1);
    let mut sql = Statement::new("UPDATE read_receipts SET due_at = clock_timestamp() + ");
    sql.bind(pause).sql(" * interval '1 second'").append(of_claim(tenant, claimed)).run(tx)?;
    Ok(())
}

fn of_claim(tenant: &Tenant, claimed: &ClaimedReceipt) -> Statement {
    let mut sql = Statement::new(" WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ").bind(claimed.id);
    sql.sql(" AND claim = ").bind(claimed.claim);
    sql
}
