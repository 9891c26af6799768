//! Claims due attempts for this process. A claim is a lease by the database's clock: one whose process died was handed over or not, which
//! nobody knows, so it becomes uncertain and is not sent again.
//!
//! Of a conversation only its oldest open attempt is claimed, so its messages are sent in their order.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::Value as Json;
use uuid::Uuid;

use super::outbound::{Outbound, OutboundContent, Recipient};
use super::pace::Pace;
use super::send_limits::{self, CHANNEL_BURST};
use crate::background::Slots;
use crate::base::error::Result;
#[cfg(feature = "mutants")]
use crate::base::mutants::{self, Mutant};
use crate::channels::channel_queue::{busy_channels, pending_channels};
use crate::db::{Statement, Tx};

/// How long a claim lasts, in seconds: longer than a channel may take to answer.
const LEASE_SECONDS: i64 = 45;
/// Attempts without an outcome that are settled at once.
const MAX_SETTLED: u32 = 50;

/// An attempt that this process has claimed.
#[derive(Clone, Debug, QueryableByName)]
pub struct ClaimedAttempt {
    #[diesel(sql_type = SqlUuid)]
    pub business_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub message_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub channel_id: Uuid,
    #[diesel(sql_type = Integer)]
    pub number: i32,
    #[diesel(sql_type = Text)]
    pub purpose: String,
    /// Number of the claim: another process that claims it has a larger one.
    #[diesel(sql_type = BigInt)]
    pub claim: i64,
    #[diesel(sql_type = Integer)]
    pub tries: i32,
    /// Whether it is being sent; of one that is to be settled: its process died meanwhile.
    #[diesel(sql_type = Bool)]
    pub is_sending: bool,
    /// Whether the message, or its conversation, was deleted meanwhile.
    #[diesel(sql_type = Bool)]
    pub is_deleted: bool,
    #[diesel(sql_type = Text)]
    pub channel_kind: String,
    #[diesel(sql_type = Text)]
    author: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Nullable<Text>)]
    body: Option<String>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    media: Option<Json>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    payload: Option<Json>,
    #[diesel(sql_type = Nullable<Text>)]
    target: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    emoji: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    reply_to: Option<String>,
    #[diesel(sql_type = Text)]
    address: String,
    #[diesel(sql_type = Bool)]
    is_group: bool,
    /// The file that it carries and is stored here.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub attachment_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    pub mime_type: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub file_name: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub bytes: Option<i64>,
}

impl ClaimedAttempt {
    /// Returns what is handed over. Errors: why nothing can be.
    pub fn outbound(&self) -> std::result::Result<Outbound, String> {
        if self.is_deleted {
            return Err("It was deleted before it was sent.".to_owned());
        }
        let recipient = Recipient::of_address(&self.address, self.is_group)
            .ok_or_else(|| "Nothing can be sent to the address of this conversation.".to_owned())?;
        let content = match self.is_reaction() {
            true => OutboundContent::Reaction {
                target: self.target.clone().ok_or_else(|| "The message has no id on the channel.".to_owned())?,
                emoji: self.emoji.clone(),
            },
            false => OutboundContent::Message {
                kind: self.kind.clone(),
                body: self.body.clone(),
                media: self.media.clone(),
                payload: self.payload.clone(),
                uploaded: None,
            },
        };
        let reply_to = self.reply_to.clone().filter(|_| !self.is_reaction());
        Ok(Outbound {
            message_id: self.message_id,
            number: self.number.into(),
            is_by_person: self.author == "user",
            recipient,
            content,
            reply_to,
        })
    }

    pub fn is_reaction(&self) -> bool {
        self.purpose == "reaction"
    }
}

/// What was claimed.
pub struct Claims {
    pub attempts: Vec<ClaimedAttempt>,
    /// Whether others may be due: some were claimed, or made to wait for their person's turn.
    pub goes_on: bool,
    /// In how many milliseconds a channel that has more to send is free again.
    pub next_in: Option<i64>,
}

/// An attempt that may be claimed, locked.
#[derive(QueryableByName)]
struct Candidate {
    #[diesel(sql_type = SqlUuid)]
    business_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    channel_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    conversation_id: Uuid,
    #[diesel(sql_type = Integer)]
    messages_per_second: i32,
    #[diesel(sql_type = Timestamptz)]
    now: DateTime<Utc>,
}

/// The states of an attempt that is not over.
const OPEN: &str = "state IN ('queued', 'sending')";
/// Claims due attempts: of each channel as many as it has free slots and its pace allows. Queries: six, whatever is due.
pub fn claim(tx: &mut Tx<'_>, free: usize, slots: &Slots) -> Result<Claims> {
    let candidates = candidates(free, slots).load::<Candidate>(tx)?;
    let Some(now) = candidates.first().map(|candidate| candidate.now) else {
        return Ok(Claims { attempts: Vec::new(), goes_on: false, next_in: next_in(tx)? });
    };
    let keys = candidates.iter().flat_map(|one| [one.channel_id, one.conversation_id].map(|id| (one.business_id, id)));
    let mut free_at = send_limits::lock(tx, keys, now)?;
    let (mut taken, mut postponed) = (Vec::new(), Vec::new());
    for candidate in &candidates {
        let at = |id: Uuid| free_at.get(&(candidate.business_id, id)).copied().unwrap_or(now);
        let (mut channel, mut pair) = (at(candidate.channel_id), at(candidate.conversation_id));
        if let Err(later) = Pace::of_pair().take(&mut pair, now) {
            postponed.push((candidate, later));
            continue;
        }
        if Pace::of_channel(candidate.messages_per_second.into()).take(&mut channel, now).is_err() {
            continue;
        }
        free_at.insert((candidate.business_id, candidate.channel_id), channel);
        free_at.insert((candidate.business_id, candidate.conversation_id), pair);
        taken.push(candidate);
    }
    send_limits::store(tx, &free_at)?;
    postpone(tx, &postponed)?;
    let attempts = take(tx, &taken)?;
    Ok(Claims { goes_on: !taken.is_empty() || !postponed.is_empty(), attempts, next_in: next_in(tx)? })
}

/// Returns in how many milliseconds the first channel is free that is at its limit and has more to send.
fn next_in(tx: &mut Tx<'_>) -> Result<Option<i64>> {
    let mut sql = Statement::new("SELECT ceil(extract(epoch FROM min(");
    sql.sql("l.free_at - ").sql(CHANNEL_BURST).sql(
        ") - clock_timestamp()) * 1000)::bigint FROM send_limits l JOIN channels c ON c.business_id = l.business_id AND c.id = l.id \
         WHERE c.state = 'active' AND c.deleted_at IS NULL AND l.free_at > now() AND ",
    );
    // One that is free waits for something else, such as the answer to its last message: looking again at once would be in vain.
    sql.sql("l.free_at - ").sql(CHANNEL_BURST).sql(
        " > now() AND EXISTS (SELECT FROM message_attempts a WHERE a.business_id = l.business_id AND a.channel_id = l.id AND a.",
    );
    Ok(sql.sql(OPEN).sql(" AND a.due_at <= now()) HAVING count(*) > 0").scalar::<i64>(tx)?)
}

/// Selects due attempts that are the oldest of their conversations: first the channels that have any (a loose index scan), then of each
/// one that is ready, which is active, free, and has a free slot, as many as may get a turn; of these, first those of businesses with the
/// fewest on their way, so that none waits for another's backlog. Locks them; those that another process has locked are left out. (Rows to
/// lock are found by id: `state || ''` keeps the indexes of open attempts out of it.)
///
/// A channel may get twice its even share of the free slots: what is read is in proportion to what is chosen, however many channels have
/// how much to send. The task goes on at once, so one that has more to send than others gets what these leave.
pub fn candidates(free: usize, slots: &Slots) -> Statement {
    let mut sql = Statement::new("WITH RECURSIVE ");
    pending_channels(&mut sql, "message_attempts", OPEN);
    sql.sql(", ");
    with_ready(&mut sql, slots);
    sql.sql(
        ", heads AS (SELECT a.*, r.messages_per_second, r.owned + row_number() OVER (PARTITION BY r.business_id ORDER BY a.due_at) AS turn \
         FROM ready r CROSS JOIN LATERAL (\
         SELECT a.business_id, a.id, a.due_at FROM message_attempts a WHERE a.business_id = r.business_id AND a.channel_id = r.channel_id \
         AND a.state = 'queued' AND a.",
    );
    sql.sql(OPEN)
        .sql(
            " AND a.due_at <= now() AND NOT EXISTS (SELECT FROM message_attempts o WHERE o.business_id = a.business_id \
              AND o.conversation_id = a.conversation_id AND o.place < a.place AND o.",
        )
        .sql(holds_others())
        .sql(") ORDER BY a.due_at LIMIT least(")
        .bind(slots.most_each as i64);
    sql.sql(" - r.taken, ceil(2.0 * ").bind(free as i64);
    sql.sql(
        " / ((SELECT count(DISTINCT business_id) FROM ready) * r.channels))::bigint)) a), \
         due AS MATERIALIZED (SELECT * FROM heads WHERE turn <= ",
    );
    sql.bind(slots.most_owned as i64).sql(" ORDER BY turn, due_at LIMIT ").bind(free as i64).sql(
        ") SELECT l.business_id, l.id, l.channel_id, l.conversation_id, d.messages_per_second, now() AS now \
         FROM due d CROSS JOIN LATERAL (SELECT a.* FROM message_attempts a WHERE a.business_id = d.business_id AND a.id = d.id \
         AND a.state || '' = 'queued' AND a.due_at <= now() FOR NO KEY UPDATE SKIP LOCKED) l ORDER BY d.due_at",
    );
    sql
}

/// Which attempts the later ones of their conversation wait for.
fn holds_others() -> &'static str {
    #[cfg(feature = "mutants")]
    if mutants::is(Mutant::OrderForgotten) {
        return "state IS NULL";
    }
    OPEN
}

/// Appends the channels that are `ready`, of those that are `pending`: with the slots that they and their businesses have, and how many of
/// their business are.
fn with_ready(sql: &mut Statement, slots: &Slots) {
    busy_channels(sql, slots);
    sql.sql(
        ", ready AS MATERIALIZED (\
         SELECT p.business_id, p.channel_id, c.messages_per_second, coalesce(b.taken, 0) AS taken, coalesce(o.taken, 0)::bigint AS owned, \
         count(*) OVER (PARTITION BY p.business_id) AS channels FROM pending p \
         JOIN channels c ON c.business_id = p.business_id AND c.id = p.channel_id AND c.state = 'active' AND c.deleted_at IS NULL \
         LEFT JOIN send_limits l ON l.business_id = p.business_id AND l.id = p.channel_id \
         LEFT JOIN busy b ON b.business_id = p.business_id AND b.channel_id = p.channel_id \
         LEFT JOIN (SELECT business_id, sum(taken) AS taken FROM busy GROUP BY business_id) o ON o.business_id = p.business_id \
         CROSS JOIN LATERAL (SELECT FROM message_attempts a WHERE a.business_id = p.business_id AND a.channel_id = p.channel_id \
         AND a.state = 'queued' AND a.",
    );
    sql.sql(OPEN).sql(" AND a.due_at <= now() ORDER BY a.due_at LIMIT 1) d WHERE (l.free_at IS NULL OR ");
    sql.sql("l.free_at - ")
        .sql(CHANNEL_BURST)
        .sql(" <= now()) AND coalesce(b.taken, 0) < ")
        .bind(slots.most_each as i64);
    sql.sql(" AND coalesce(o.taken, 0) < ").bind(slots.most_owned as i64).sql(")");
}

/// Has attempts wait for their person's turn.
fn postpone(tx: &mut Tx<'_>, postponed: &[(&Candidate, DateTime<Utc>)]) -> Result<()> {
    if postponed.is_empty() {
        return Ok(());
    }
    let mut sql = Statement::new(
        "UPDATE message_attempts a SET due_at = n.due_at, version = a.version + 1, updated_at = now() FROM unnest(",
    );
    sql.bind(postponed.iter().map(|(candidate, _)| candidate.business_id).collect::<Vec<_>>()).sql(", ");
    sql.bind(postponed.iter().map(|(candidate, _)| candidate.id).collect::<Vec<_>>()).sql(", ");
    sql.bind(postponed.iter().map(|(_, later)| *later).collect::<Vec<_>>());
    sql.sql(") AS n (business_id, id, due_at) WHERE a.business_id = n.business_id AND a.id = n.id").run(tx)?;
    Ok(())
}

/// Takes attempts, and returns them with what they hand over.
fn take(tx: &mut Tx<'_>, taken: &[&Candidate]) -> Result<Vec<ClaimedAttempt>> {
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = Statement::new(
        "WITH taken AS (UPDATE message_attempts a SET state = 'sending', claim = a.claim + 1, due_at = now() + ",
    );
    sql.number(LEASE_SECONDS).sql(" * interval '1 second', version = a.version + 1, updated_at = now() FROM unnest(");
    sql.bind(taken.iter().map(|candidate| candidate.business_id).collect::<Vec<_>>()).sql(", ");
    sql.bind(taken.iter().map(|candidate| candidate.id).collect::<Vec<_>>());
    sql.sql(") AS n (business_id, id) WHERE a.business_id = n.business_id AND a.id = n.id RETURNING a.*) ")
        .append(contents());
    Ok(sql.load(tx)?)
}

/// Begins a claim's time anew. Returns whether this process has the attempt still. Queries: one.
pub fn renew(tx: &mut Tx<'_>, attempt: &ClaimedAttempt) -> Result<bool> {
    let mut sql = Statement::new("UPDATE message_attempts SET due_at = clock_timestamp() + ");
    sql.number(LEASE_SECONDS).sql(" * interval '1 second' WHERE state = 'sending' AND business_id = ");
    sql.bind(attempt.business_id).sql(" AND id = ").bind(attempt.id).sql(" AND claim = ").bind(attempt.claim);
    Ok(sql.run(tx)? == 1)
}

/// Selects the attempts `taken` with what they hand over.
fn contents() -> Statement {
    Statement::new(
        "SELECT a.business_id, a.id, a.message_id, a.channel_id, a.number, a.purpose, a.claim, a.tries, a.state = 'sending' AS is_sending, \
         m.deleted_at IS NOT NULL OR v.deleted_at IS NOT NULL AS is_deleted, c.kind AS channel_kind, \
         m.author, m.kind, m.body, m.media, m.payload, m.external_id AS target, (SELECT r.emoji FROM message_reactions r \
             WHERE r.business_id = a.business_id AND r.message_id = a.message_id AND r.reactor = 'business' AND r.deleted_at IS NULL) AS emoji, \
         (SELECT o.external_id FROM messages o WHERE o.business_id = a.business_id AND o.id = m.reply_to_id) AS reply_to, \
         v.address, EXISTS (SELECT FROM contact_identities i WHERE i.business_id = a.business_id AND i.peer_id = v.peer_id AND i.kind = 'group') AS is_group, \
         CASE WHEN a.purpose = 'message' THEN f.id END AS attachment_id, f.mime_type, f.file_name, f.bytes \
         FROM taken a JOIN messages m ON m.business_id = a.business_id AND m.id = a.message_id \
         JOIN conversations v ON v.business_id = a.business_id AND v.id = a.conversation_id \
         JOIN channels c ON c.business_id = a.business_id AND c.id = a.channel_id \
         LEFT JOIN attachments f ON f.business_id = a.business_id AND f.id = m.attachment_id ORDER BY a.place",
    )
}

/// Claims attempts that are to be settled: those whose process died while they were sent, whatever became of their channel, and uncertain
/// ones whose time is over. Queries: one.
pub fn claim_unsettled(tx: &mut Tx<'_>) -> Result<Vec<ClaimedAttempt>> {
    let mut sql = Statement::new("WITH taken AS (UPDATE message_attempts SET claim = claim + 1, due_at = now() + ");
    sql.number(LEASE_SECONDS).sql(
        " * interval '1 second' WHERE state IN ('sending', 'uncertain') AND (business_id, id) IN (SELECT business_id, id FROM message_attempts \
         WHERE state IN ('sending', 'uncertain') AND due_at <= now() ORDER BY due_at LIMIT ",
    );
    sql.number(MAX_SETTLED).sql(" FOR NO KEY UPDATE SKIP LOCKED) RETURNING *) ").append(contents());
    Ok(sql.load(tx)?)
}
