//! Receives what channels deliver: stores it, and applies it. What is stored is applied, in this process or another, at once or after
//! an outage; what was acknowledged is never lost.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_web::web::Bytes;
use serde_json::Value as Json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::apply;
use super::bodies::{self, BodyOutcome, InboundBody, MAX_CLAIMS, Subjects, Turn};
use super::delivered::Delivered;
use super::parked::{self, Parked};
use super::update::InboundUpdate;
use crate::auth::Tenant;
use crate::background::{BackgroundTask, LogLimiter, TaskOutcome, Waker, detach};
use crate::base::error::{Error, Result};
use crate::channels::directory::{ChannelDirectory, ChannelKey, ConnectedChannel};
use crate::channels::whatsapp::signature::{is_signed, named_accounts, named_numbers};
use crate::channels::whatsapp::webhook_body::{self, Item, ItemKind};
use crate::channels::whatsapp::{lenient_json, webhook_item, webhook_peer};
use crate::crm::contact_identities::person_hash;
use crate::db::{Db, Tx};

/// Bodies that a process applies at once: enough for the connections of its pool, and few enough to leave some to requests.
const MAX_AT_ONCE: usize = 8;
/// Of these, those that are due from before: the others are for what comes now.
const MAX_DUE_AT_ONCE: usize = 4;
/// Items that are applied under one claim, and for how long: then others have their turn.
const MAX_ITEMS: usize = 200;
const MAX_APPLYING: Duration = Duration::from_secs(5);
/// Tries of an update that fails before it is parked: some failures pass, such as a merge of its contact.
const MAX_TRIES: i32 = 3;
/// How long an acknowledgement waits for its body to be applied: who reads after it then mostly sees it. WhatsApp waits for seconds.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(100);
/// Acknowledgements that wait like this; under load they do not.
const MAX_WAITING: usize = 64;

/// Receives and applies; shared by the process.
pub struct InboundReceiver {
    db: Db,
    directory: Arc<ChannelDirectory>,
    at_once: Arc<Semaphore>,
    due_at_once: Arc<Semaphore>,
    waiting: AtomicUsize,
    waker: Waker,
}

impl InboundReceiver {
    pub fn new(db: Db, directory: Arc<ChannelDirectory>) -> Self {
        Self {
            db,
            directory,
            at_once: Arc::new(Semaphore::new(MAX_AT_ONCE - MAX_DUE_AT_ONCE)),
            due_at_once: Arc::new(Semaphore::new(MAX_DUE_AT_ONCE)),
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

    /// Stores `body`, and returns once it is committed and, where that takes a moment only, applied. `signed_by`: whose secret made
    /// `signature`; `None`: the operator's. Errors: 503 when it cannot be stored.
    pub async fn receive(self: &Arc<Self>, body: Bytes, signature: &str, signed_by: Option<Uuid>) -> Result<()> {
        let subjects = self.subjects(&body, signed_by, signature).await?;
        let permit = self.at_once.clone().try_acquire_owned().ok();
        let turn = if permit.is_some() { Turn::Claimed } else { Turn::After(0) };
        let store = move |tx: &mut Tx<'_>| bodies::store(tx, &body, signed_by, &subjects, turn);
        let stored = self.db.unscoped().write("inbound_receive", store).await?;
        let Some(permit) = permit else {
            self.waker.wake();
            return Ok(());
        };
        let applying = detach("inbound body", self.clone().apply(stored, permit));
        let turn = WaitingTurn::take(&self.waiting);
        if turn.is_early {
            let _ = tokio::time::timeout(ACKNOWLEDGED_WITHIN, applying.outcome()).await;
        }
        Ok(())
    }

    /// Stores what a channel within this service will deliver to `business` after so many seconds. Errors: 503.
    pub async fn deliver_later(&self, body: Bytes, business: Uuid, seconds: u32) -> Result<()> {
        let subjects = self.subjects(&body, Some(business), "").await?;
        let store =
            move |tx: &mut Tx<'_>| bodies::store(tx, &body, Some(business), &subjects, Turn::After(seconds)).map(drop);
        self.db.unscoped().write("inbound_deliver_later", store).await
    }

    /// Of whom a body speaks: kept with it from the beginning, so that it is found whatever becomes of it. Errors: 503.
    async fn subjects(&self, body: &Bytes, signed_by: Option<Uuid>, signature: &str) -> Result<Subjects> {
        let Ok(parsed) = lenient_json::parse(body) else {
            let numbers = [named_numbers(body), named_accounts(body)].concat();
            return Ok(Subjects { numbers, ..Subjects::default() });
        };
        let (mut subjects, mut channels) = (Subjects::default(), KnownChannels::default());
        for item in webhook_body::items(&parsed) {
            let channel = self.channel(&item, signed_by, &mut channels).await?;
            subjects.numbers.extend(item.phone_number_id.iter().chain(&item.account_id).cloned());
            if let Some(channel) = channel {
                subjects.people.extend(people(channel.business.id, &item.raw));
            }
        }
        if let Some(signer) = signed_by {
            subjects.also_signed_by = channels.signers(body, signature, signer);
        }
        for list in [&mut subjects.numbers, &mut subjects.people] {
            list.sort_unstable();
            list.dedup();
        }
        Ok(subjects)
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
        let mut permits: Vec<OwnedSemaphorePermit> = Vec::with_capacity(MAX_DUE_AT_ONCE);
        while let Ok(permit) = self.due_at_once.clone().try_acquire_owned() {
            permits.push(permit);
        }
        let Ok(limit @ 1..) = u32::try_from(permits.len()) else { return Ok(TaskOutcome::Rest) };
        let claimed = self.db.unscoped().write("inbound_claim", move |tx| bodies::claim(tx, limit)).await?;
        let outcome = if claimed.len() == permits.len() { TaskOutcome::Again } else { TaskOutcome::Rest };
        for (body, permit) in claimed.into_iter().zip(permits) {
            // What it cannot do is due again; a panic is logged and counted.
            detach("inbound body", self.clone().apply(body, permit));
        }
        Ok(outcome)
    }

    async fn apply(self: Arc<Self>, body: InboundBody, permit: OwnedSemaphorePermit) {
        let outcome = match body.attempts > MAX_CLAIMS {
            true => BodyOutcome::Failed("it was claimed several times, and no process has finished it".to_owned()),
            false => self.outcome(&body).await,
        };
        let id = body.id;
        if let BodyOutcome::Failed(error) = &outcome {
            tracing::warn!(body = %id, error, "what a channel delivered cannot be applied");
        }
        let recorded = self.db.unscoped().write("inbound_record", move |tx| bodies::record(tx, &body, &outcome));
        static FAILURES: LogLimiter = LogLimiter::new();
        // If it cannot be recorded, the body is applied again when its lease has ended, which changes nothing.
        if let Err(error) = recorded.await
            && let Some(suppressed) = FAILURES.failed_with(&error)
        {
            tracing::warn!(body = %id, %error, suppressed, "what became of an inbound body could not be noted");
        }
        drop(permit);
        // A permit is free.
        self.waker.wake();
    }

    /// Applies the items of a body, each in a transaction of its own: one that fails keeps no other waiting.
    async fn outcome(&self, body: &InboundBody) -> BodyOutcome {
        let parsed = match lenient_json::parse(&body.body) {
            Ok(parsed) => parsed,
            Err(error) => return BodyOutcome::Failed(format!("it is no JSON: {error}")),
        };
        let began = Instant::now();
        let first = usize::try_from(body.next_item).unwrap_or_default();
        let (mut unclaimed, mut later, mut channels) = (Vec::new(), None, KnownChannels::default());
        // What is nobody's is looked at again, whatever the others wait for.
        let mut again_from = None;
        for (place, item) in webhook_body::items(&parsed).into_iter().enumerate().skip(first) {
            if place > first
                && (place - first >= MAX_ITEMS || began.elapsed() > MAX_APPLYING)
                && later.is_none()
                && unclaimed.is_empty()
            {
                return BodyOutcome::Part { next_item: place };
            }
            let stops = |error: Error, from: usize| BodyOutcome::Later {
                error: error.to_string(),
                next_item: from,
                is_counted: false,
            };
            let channel = match self.channel(&item, body.signed_by, &mut channels).await {
                Ok(Some(channel)) => channel,
                Ok(None) => {
                    unclaimed.extend(key_of(&item, body.signed_by));
                    again_from.get_or_insert(place);
                    continue;
                }
                Err(error) => return later.unwrap_or_else(|| stops(error, again_from.unwrap_or(place))),
            };
            if !body.is_signed_by(channel.business.id) {
                // The secret of one business says nothing about another's channel.
                tracing::warn!(body = %body.id, channel = %channel.id, "an update was signed by another business, and is left out");
                continue;
            }
            if let Err(error) = self.apply_item(&channel, body, item).await {
                if is_outage(&error) {
                    return later.unwrap_or_else(|| stops(error, again_from.unwrap_or(place)));
                }
                // The next ones do not wait for it.
                later.get_or_insert(BodyOutcome::Later {
                    error: error.to_string(),
                    next_item: *again_from.get_or_insert(place),
                    is_counted: true,
                });
            }
        }
        match later {
            Some(later) => later,
            None if unclaimed.is_empty() => BodyOutcome::Applied,
            None => BodyOutcome::Unclaimed(unclaimed),
        }
    }

    /// Finds the channel by the number; what names none concerns an account.
    async fn channel(
        &self,
        item: &Item,
        signed_by: Option<Uuid>,
        known: &mut KnownChannels,
    ) -> Result<Option<Arc<ConnectedChannel>>> {
        let Some(key) = key_of(item, signed_by) else { return Ok(None) };
        if let Some(channel) = known.0.get(&key) {
            return Ok(channel.clone());
        }
        // It may have been connected a moment ago.
        let channel = self.directory.find_anew(&key).await?;
        known.0.insert(key, channel.clone());
        Ok(channel)
    }

    /// Applies an item; parks it with its error after some tries. Errors: those of a try that is not the last.
    async fn apply_item(&self, channel: &Arc<ConnectedChannel>, body: &InboundBody, item: Item) -> Result<()> {
        let (kind, received_at) = (kind_name(item.kind), body.received_at);
        let update = Arc::new(webhook_item::read(&item.raw, received_at));
        let tenant = Tenant::for_channel(channel.business.id);
        let people = Arc::new(people(channel.business.id, &item.raw));
        // What cannot be read is parked by itself.
        let is_again = body.claim > 1 && !matches!(*update, InboundUpdate::Ignored { .. });
        let raw = Arc::new(item.raw);
        let applied = {
            let (tenant, channel, raw, update, people) =
                (tenant.clone(), channel.clone(), raw.clone(), update.clone(), people.clone());
            self.db.for_tenant(&tenant.clone()).write("inbound_update", move |tx| {
                let delivered =
                    Delivered { channel: &channel, kind, received_at, raw: &raw, update: &update, people: &people };
                apply::apply(tx, &tenant, &delivered)?;
                // It failed before.
                if is_again { parked::forget(tx, &tenant, channel.id, &raw) } else { Ok(()) }
            })
        };
        let Err(error) = applied.await.map_err(Error::translated) else { return Ok(()) };
        if is_outage(&error) || body.attempts < MAX_TRIES {
            return Err(error);
        }
        let (id, text) = (channel.id, error.to_string());
        tracing::error!(body = %body.id, channel = %id, kind, error = %text, "an inbound update could not be applied, and is parked");
        let parking = self.db.for_tenant(&tenant.clone()).write("inbound_park", move |tx| {
            parked::fail(tx, &tenant, &Parked { channel: id, kind, received_at, payload: &raw, people: &people }, &text)
        });
        parking.await
    }
}

/// The channels of a body, each looked up once.
#[derive(Default)]
struct KnownChannels(HashMap<ChannelKey, Option<Arc<ConnectedChannel>>>);

impl KnownChannels {
    /// The businesses of these channels whose secret made `signature`, too, beside `signer`.
    fn signers(&self, body: &[u8], signature: &str, signer: Uuid) -> Vec<Uuid> {
        let others = self.0.values().flatten().filter(|channel| channel.business.id != signer);
        let signed = others.filter(|channel| is_signed(body, signature, &channel.app_secrets));
        let signers: BTreeSet<Uuid> = signed.map(|channel| channel.business.id).collect();
        signers.into_iter().collect()
    }
}

/// What names the channel of an item in a body which this business, or the operator, has signed.
fn key_of(item: &Item, signed_by: Option<Uuid>) -> Option<ChannelKey> {
    let loopback = signed_by.zip(item.phone_number_id.as_deref());
    if let Some(key) = loopback.and_then(|(business, number)| ChannelKey::of_loopback(business, number)) {
        return Some(key);
    }
    let number = item.phone_number_id.clone().map(ChannelKey::Number);
    number.or_else(|| item.account_id.clone().map(ChannelKey::Account))
}

/// Whether the service cannot do anything now, so that the update itself is not at fault.
fn is_outage(error: &Error) -> bool {
    matches!(error, Error::Unavailable { code, .. } if !["statement_timeout", "contended", "locked"].contains(code))
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

/// Hashes of the people that an item names, by which what was delivered about someone who is erased is found.
fn people(business: Uuid, raw: &Json) -> Vec<String> {
    webhook_peer::people(raw).iter().map(|name| person_hash(business, name)).collect()
}
