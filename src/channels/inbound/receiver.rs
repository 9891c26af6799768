//! Receives what channels deliver: stores it, and applies it. What is stored is applied, in this process or another, at once or after
//! an outage; what was acknowledged is never lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::web::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::apply::{self, Delivered};
use super::bodies::{self, BodyOutcome, InboundBody, MAX_CLAIMS, Subjects};
use super::parked::{self, Parked};
use super::update::{InboundUpdate, Peer};
use crate::auth::Tenant;
use crate::background::{BackgroundTask, LogLimiter, TaskOutcome, Waker, detach};
use crate::base::error::{Error, Result};
use crate::channels::directory::{ChannelDirectory, ChannelKey, ConnectedChannel};
use crate::channels::whatsapp::webhook_body::{self, Item, ItemKind};
use crate::channels::whatsapp::{lenient_json, webhook_item};
use crate::crm::contact_identities::person_hash;
use crate::db::Db;

/// Bodies that a process applies at once: enough for the connections of its pool, and few enough to leave some to requests.
const MAX_AT_ONCE: usize = 8;
/// Bodies that one look for due ones claims.
const MAX_CLAIMED: u32 = 32;
/// How long an acknowledgement waits for its body to be applied: who reads after it then mostly sees it. WhatsApp waits for seconds.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(100);
/// Acknowledgements that wait like this; under load they do not.
const MAX_WAITING: usize = 64;

/// Receives and applies; shared by the process.
pub struct InboundReceiver {
    db: Db,
    directory: Arc<ChannelDirectory>,
    at_once: Arc<Semaphore>,
    waiting: AtomicUsize,
    waker: Waker,
}

impl InboundReceiver {
    pub fn new(db: Db, directory: Arc<ChannelDirectory>) -> Self {
        Self {
            db,
            directory,
            at_once: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            waiting: AtomicUsize::new(0),
            waker: Waker::default(),
        }
    }

    /// Has what is due looked for at once.
    pub fn wake(&self) {
        self.waker.wake();
    }

    pub fn directory(&self) -> &ChannelDirectory {
        &self.directory
    }

    /// Stores `body`, and returns once it is committed and, where that takes a moment only, applied. `signed_by`: whose secret signed it;
    /// `None`: the operator's. Errors: 503 when it cannot be stored.
    pub async fn receive(self: &Arc<Self>, body: Bytes, signed_by: Option<Uuid>) -> Result<()> {
        let permit = self.at_once.clone().try_acquire_owned().ok();
        let claimed = permit.is_some();
        let stored =
            self.db.unscoped().write("inbound_receive", move |tx| bodies::store(tx, &body, signed_by, claimed)).await?;
        match (stored, permit) {
            (Some(stored), Some(permit)) => {
                let applying = detach("inbound body", self.clone().apply(stored, permit));
                let turn = WaitingTurn::take(&self.waiting);
                if turn.is_early {
                    let _ = tokio::time::timeout(ACKNOWLEDGED_WITHIN, applying.outcome()).await;
                }
            }
            _ => self.waker.wake(),
        }
        Ok(())
    }

    /// The task that applies what was left: under load, by a process that died, after an outage.
    pub fn task(self: Arc<Self>) -> BackgroundTask {
        let waker = self.waker.clone();
        let run = move || {
            let receiver = self.clone();
            async move { receiver.apply_due().await }
        };
        BackgroundTask::new("inbound", Duration::from_millis(500), run).woken_by(waker)
    }

    async fn apply_due(self: &Arc<Self>) -> Result<TaskOutcome> {
        let claimed = self.db.unscoped().write("inbound_claim", |tx| bodies::claim(tx, MAX_CLAIMED)).await?;
        let outcome = if claimed.is_empty() { TaskOutcome::Rest } else { TaskOutcome::Again };
        let mut applying = Vec::with_capacity(claimed.len());
        for body in claimed {
            let permit = self.at_once.clone().acquire_owned().await;
            let permit = permit.map_err(|_| Error::Internal("the receiver has ended".into()))?;
            applying.push(detach("inbound body", self.clone().apply(body, permit)));
        }
        for one in applying {
            // What it could not do is due again; a panic is logged and counted.
            let _ = one.outcome().await;
        }
        Ok(outcome)
    }

    async fn apply(self: Arc<Self>, body: InboundBody, permit: OwnedSemaphorePermit) {
        let (id, attempts) = (body.id, body.attempts);
        let mut subjects = Subjects::default();
        let outcome = match attempts > MAX_CLAIMS {
            true => BodyOutcome::Failed("it was claimed several times, and no process has finished it".to_owned()),
            false => self.outcome(&body, &mut subjects).await,
        };
        if let BodyOutcome::Failed(error) = &outcome {
            tracing::warn!(body = %id, error, "what a channel delivered cannot be applied");
        }
        let recorded =
            self.db.unscoped().write("inbound_record", move |tx| bodies::record(tx, id, &outcome, &subjects, attempts));
        static FAILURES: LogLimiter = LogLimiter::new();
        // If it cannot be recorded, the body is applied again when its lease has ended, which changes nothing.
        if let Err(error) = recorded.await
            && let Some(suppressed) = FAILURES.failed_with(&error)
        {
            tracing::warn!(body = %id, %error, suppressed, "what became of an inbound body could not be noted");
        }
        drop(permit);
    }

    /// Applies the items of a body, each in a transaction of its own: one that fails keeps no other waiting.
    async fn outcome(&self, body: &InboundBody, subjects: &mut Subjects) -> BodyOutcome {
        let parsed = match lenient_json::parse(&body.body) {
            Ok(parsed) => parsed,
            Err(error) => return BodyOutcome::Failed(format!("it is no JSON: {error}")),
        };
        let (mut is_unclaimed, mut later) = (false, None);
        for item in webhook_body::items(&parsed) {
            subjects.numbers.extend(item.phone_number_id.iter().chain(&item.account_id).cloned());
            let channel = match self.channel(&item).await {
                Ok(Some(channel)) => channel,
                Ok(None) => {
                    is_unclaimed = true;
                    continue;
                }
                Err(error) => return BodyOutcome::Later { error: error.to_string(), is_counted: false },
            };
            if body.signed_by.is_some_and(|business| business != channel.business.id) {
                // The secret of one business says nothing about another's channel.
                tracing::warn!(body = %body.id, channel = %channel.id, "an update was signed by another business, and is left out");
                continue;
            }
            // The next ones do not wait for it.
            if let Err(error) = self.apply_item(&channel, body, item, subjects).await {
                let is_counted = is_own_fault(&error);
                later = Some(BodyOutcome::Later { error: error.to_string(), is_counted });
                if !is_counted {
                    break;
                }
            }
        }
        subjects.numbers.sort_unstable();
        subjects.numbers.dedup();
        later.unwrap_or(if is_unclaimed { BodyOutcome::Unclaimed } else { BodyOutcome::Applied })
    }

    /// Finds the channel by the number; what names none concerns an account.
    async fn channel(&self, item: &Item) -> Result<Option<Arc<ConnectedChannel>>> {
        let number = item.phone_number_id.clone().map(ChannelKey::Number);
        let Some(key) = number.or_else(|| item.account_id.clone().map(ChannelKey::Account)) else { return Ok(None) };
        match self.directory.find(&key).await? {
            Some(channel) => Ok(Some(channel)),
            // It may have been connected a moment ago.
            None => self.directory.look_up(&key).await,
        }
    }

    /// Applies an item, or parks it with its error. Errors: the service cannot do it now.
    async fn apply_item(
        &self,
        channel: &Arc<ConnectedChannel>,
        body: &InboundBody,
        item: Item,
        subjects: &mut Subjects,
    ) -> Result<()> {
        let (kind, received_at) = (kind_name(item.kind), body.received_at);
        let update = Arc::new(webhook_item::read(&item.raw, received_at));
        let tenant = Tenant::for_channel(channel.business.id);
        subjects.people.extend(people(&tenant, &update));
        let raw = Arc::new(item.raw);
        let applied = {
            let (tenant, channel, raw, update) = (tenant.clone(), channel.clone(), raw.clone(), update.clone());
            self.db.for_tenant(&tenant.clone()).write("inbound_update", move |tx| {
                let delivered = Delivered { channel: &channel, kind, received_at, raw: &raw, update: &update };
                apply::apply(tx, &tenant, &delivered)
            })
        };
        let Err(error) = applied.await.map_err(Error::translated) else { return Ok(()) };
        if matches!(error, Error::Unavailable { .. }) && !(is_own_fault(&error) && body.attempts >= MAX_CLAIMS) {
            return Err(error);
        }
        let (id, text) = (channel.id, error.to_string());
        tracing::error!(body = %body.id, channel = %id, kind, error = %text, "an inbound update could not be applied, and is parked");
        let parking = self.db.for_tenant(&tenant.clone()).write("inbound_park", move |tx| {
            parked::fail(tx, &tenant, &Parked { channel: id, kind, received_at, payload: &raw }, &text)
        });
        parking.await
    }
}

/// Whether an update that the service could not apply may be what takes it too long: it is given up after some attempts.
fn is_own_fault(error: &Error) -> bool {
    matches!(error, Error::Unavailable { code: "statement_timeout" | "contended" | "locked", .. })
}

/// Counts an acknowledgement that waits, also where its request is dropped meanwhile.
struct WaitingTurn<'w> {
    waiting: &'w AtomicUsize,
    is_early: bool,
}

impl<'w> WaitingTurn<'w> {
    fn take(waiting: &'w AtomicUsize) -> Self {
        Self { waiting, is_early: waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING }
    }
}

impl Drop for WaitingTurn<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn kind_name(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Message => "message",
        ItemKind::Echo => "echo",
        ItemKind::History => "history",
        ItemKind::Status => "status",
        ItemKind::Reaction => "reaction",
        ItemKind::Edit => "edit",
        ItemKind::Revoke => "revoke",
        ItemKind::Account => "account",
    }
}

/// Hashes of the people that an update is about, by which bodies about someone who is erased are found.
fn people(tenant: &Tenant, update: &InboundUpdate) -> Vec<String> {
    let peers: Vec<&Peer> = match update {
        InboundUpdate::Message(message) => {
            let changed = message.identity_change.iter().flat_map(|change| [&change.previous, &change.current]);
            [&message.peer].into_iter().chain(changed).collect()
        }
        InboundUpdate::Reaction(reaction) => vec![&reaction.peer],
        InboundUpdate::Edit(edit) => vec![&edit.peer],
        InboundUpdate::Revocation(revocation) => vec![&revocation.peer],
        InboundUpdate::Status(status) => vec![&status.recipient],
        InboundUpdate::Ignored { .. } => vec![],
    };
    let names = peers.into_iter().flat_map(|peer| [&peer.wa_id, &peer.user_id, &peer.parent_user_id]).flatten();
    names.map(|name| person_hash(tenant.id(), name)).collect()
}
