//! Shows a customer that an answer is being written. WhatsApp shows it for 25 seconds or until the answer comes, and marks the customer's newest
//! message as read with it (Meta, "Typing indicators"). Nothing depends on it: it is kept in memory only, and what cannot be shown now is not shown.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::QueryableByName;
use diesel::pg::PgConnection;
use diesel::sql_types::{Text, Uuid as SqlUuid};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::newest_message::newest_message;
use crate::auth::Tenant;
use crate::background::{LogLimiter, detach};
use crate::base::error::Result;
use crate::channels::directory::{ChannelDirectory, ChannelKey};
use crate::channels::sending::outbound::Adapters;
use crate::db::{Db, Statement};

/// How long a conversation is left alone after it was shown there: somewhat less than WhatsApp shows it.
const PAUSE: Duration = Duration::from_secs(20);
/// Conversations that are remembered: with more, nothing is shown until the pause of some is over.
const MAX_REMEMBERED: usize = 10_000;
/// Indicators that a process sends at once; what is more is not shown.
const MAX_AT_ONCE: usize = 16;
/// How long one may take: shown later, it would mislead.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Shows that an answer is being written; shared by the process.
pub struct TypingIndicator {
    db: Db,
    directory: Arc<ChannelDirectory>,
    adapters: Adapters,
    permits: Arc<Semaphore>,
    /// When it was shown, by business and conversation.
    shown: Mutex<HashMap<(Uuid, Uuid), Instant>>,
}

/// What it is shown with.
#[derive(QueryableByName)]
struct TypingTarget {
    #[diesel(sql_type = SqlUuid)]
    channel_id: Uuid,
    /// The channel's id of the customer's newest message.
    #[diesel(sql_type = Text)]
    external_id: String,
}

impl TypingIndicator {
    pub fn new(db: Db, directory: Arc<ChannelDirectory>, adapters: Adapters) -> Self {
        let permits = Arc::new(Semaphore::new(MAX_AT_ONCE));
        Self { db, directory, adapters, permits, shown: Mutex::default() }
    }

    /// Shows it to the customer of a conversation, without keeping the caller waiting; not where it was shown a moment ago.
    pub fn show(self: &Arc<Self>, tenant: &Tenant, conversation: Uuid) {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else { return };
        if note(&mut self.shown.lock(), (tenant.id(), conversation), Instant::now()) {
            detach("typing indicator", self.clone().send(tenant.clone(), conversation, permit));
        }
    }

    async fn send(self: Arc<Self>, tenant: Tenant, conversation: Uuid, _permit: OwnedSemaphorePermit) {
        static FAILURES: LogLimiter = LogLimiter::new();
        let sent = tokio::time::timeout(TIMEOUT, self.ask(&tenant, conversation)).await;
        if let Err(reason) = sent.unwrap_or_else(|_| Err("it took too long".to_owned()))
            && let Some(suppressed) = FAILURES.failed()
        {
            tracing::warn!(%conversation, reason, suppressed, "a customer could not be shown that an answer is being written");
        }
    }

    async fn ask(&self, tenant: &Tenant, conversation: Uuid) -> std::result::Result<(), String> {
        let own = tenant.clone();
        let target = move |conn: &mut PgConnection| target(conn, &own, conversation);
        let target = self.db.for_tenant(tenant).read("typing_target", target).await;
        let Some(target) = target.map_err(|error| error.to_string())? else { return Ok(()) };
        let key = ChannelKey::Channel { business: tenant.id(), id: target.channel_id };
        let channel = self.directory.find_anew(&key).await.map_err(|error| error.to_string())?;
        let Some(channel) = channel else { return Ok(()) };
        let adapter = self.adapters.of(&channel.kind);
        adapter.mark_read(&channel, &target.external_id, true).await.map_err(|failure| failure.reason)
    }
}

/// Notes that it is shown in a conversation now; false where it was within the pause.
fn note(shown: &mut HashMap<(Uuid, Uuid), Instant>, of: (Uuid, Uuid), now: Instant) -> bool {
    let is_recent = |at: &Instant| now.duration_since(*at) < PAUSE;
    if shown.get(&of).is_some_and(is_recent) {
        return false;
    }
    if shown.len() >= MAX_REMEMBERED {
        shown.retain(|_, at| is_recent(at));
    }
    let has_room = shown.len() < MAX_REMEMBERED || shown.contains_key(&of);
    if has_room {
        shown.insert(of, now);
    }
    has_room
}

/// Returns the customer's newest message, while the window is open and the channel shows what is read; else none.
fn target(conn: &mut PgConnection, tenant: &Tenant, conversation: Uuid) -> Result<Option<TypingTarget>> {
    let mut sql = Statement::new(
        "SELECT c.id AS channel_id, m.external_id FROM conversations v JOIN channels c ON c.business_id = v.business_id \
         AND c.id = v.channel_id AND c.state = 'active' AND c.deleted_at IS NULL AND c.sends_read_receipts CROSS JOIN LATERAL (",
    );
    sql.append(newest_message(None)).sql(") m WHERE v.window_expires_at > clock_timestamp() AND v.deleted_at IS NULL");
    sql.sql(" AND v.business_id = ").bind(tenant.id()).sql(" AND v.id = ").bind(conversation);
    Ok(sql.first(conn)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversation_is_left_alone_for_a_while_and_memory_is_bounded() {
        let (mut shown, now, business) = (HashMap::new(), Instant::now(), Uuid::nil());
        let conversation = |number: usize| (business, Uuid::from_u128(number as u128));
        assert!(note(&mut shown, conversation(0), now));
        assert!(!note(&mut shown, conversation(0), now + PAUSE / 2));
        assert!(note(&mut shown, conversation(0), now + PAUSE));
        for number in 1..MAX_REMEMBERED {
            assert!(note(&mut shown, conversation(number), now + PAUSE));
        }
        assert!(!note(&mut shown, conversation(MAX_REMEMBERED), now + PAUSE));
        assert!(note(&mut shown, conversation(MAX_REMEMBERED), now + PAUSE * 2));
        assert_eq!(shown.len(), 1);
    }
}
