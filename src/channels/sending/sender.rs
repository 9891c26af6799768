//! The task that sends: claims due attempts, hands them to their channels, and records what came of it.

use std::sync::Arc;
use std::time::Duration;

use super::claim::{ClaimedAttempt, Claims, claim};
use super::outbound::{ChannelAdapter, Refusal, SendOutcome};
use super::record;
use crate::auth::Tenant;
use crate::background::{BackgroundTask, LogLimiter, Slot, Slots, TaskOutcome, Waker, detach};
use crate::base::error::Result;
use crate::channels::channels::LOOPBACK;
use crate::channels::directory::{ChannelDirectory, ChannelKey};
use crate::db::Db;

/// Longest pause of the task while a channel is at its limit.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// Wakes the sender of this process: there are messages to send.
#[derive(Clone, Debug, Default)]
pub struct SendWaker(pub Waker);

/// How many messages a process hands over at once.
#[derive(Clone, Copy, Debug)]
pub struct SendSettings {
    pub concurrency: usize,
    pub concurrency_per_channel: usize,
}

/// The sender of a process.
pub struct Sender {
    db: Db,
    directory: Arc<ChannelDirectory>,
    whatsapp: Arc<dyn ChannelAdapter>,
    loopback: Arc<dyn ChannelAdapter>,
    waker: SendWaker,
    /// Messages that are being handed over.
    slots: Arc<Slots>,
}

impl Sender {
    pub fn new(
        db: Db,
        directory: Arc<ChannelDirectory>,
        (whatsapp, loopback): (Arc<dyn ChannelAdapter>, Arc<dyn ChannelAdapter>),
        waker: SendWaker,
        settings: SendSettings,
    ) -> Self {
        let slots = Arc::new(Slots::new(settings.concurrency, settings.concurrency_per_channel));
        Self { db, directory, whatsapp, loopback, waker, slots }
    }

    /// The task that sends.
    pub fn task(self) -> BackgroundTask {
        let waker = self.waker.0.clone();
        let sender = Arc::new(self);
        let run = move || {
            let sender = sender.clone();
            async move { sender.run().await }
        };
        BackgroundTask::new("sending", Duration::from_millis(500), run).woken_by(waker)
    }

    async fn run(self: &Arc<Self>) -> Result<TaskOutcome> {
        let free = self.slots.free();
        if free == 0 {
            return Ok(TaskOutcome::Rest);
        }
        let slots = self.slots.clone();
        let claimed = self.db.unscoped().write("sending_claim", move |tx| claim(tx, free, &slots)).await?;
        let Claims { attempts, next_in } = claimed;
        let is_idle = attempts.is_empty();
        for attempt in attempts {
            let slot = self.slots.take(attempt.business_id, attempt.channel_id);
            detach("message sending", self.clone().send(attempt, slot));
        }
        match next_in {
            _ if !is_idle => Ok(TaskOutcome::Again),
            // A channel is at its limit. Others are not kept waiting: what wakes the task ends the pause.
            Some(milliseconds) => {
                let pause = Duration::from_millis(milliseconds.max(1).unsigned_abs()).min(MAX_PAUSE);
                let _ = tokio::time::timeout(pause, self.waker.0.woken()).await;
                Ok(TaskOutcome::Again)
            }
            None => Ok(TaskOutcome::Rest),
        }
    }

    async fn send(self: Arc<Self>, attempt: ClaimedAttempt, slot: Slot) {
        let outcome = self.hand_over(&attempt).await;
        let (message, channel) = (attempt.message_id, attempt.channel_id);
        tracing::debug!(%message, %channel, ?outcome, "sent");
        let tenant = Tenant::for_channel(attempt.business_id);
        let own = tenant.clone();
        let recorded = self
            .db
            .for_tenant(&tenant)
            .write("sending_record", move |tx| record::record(tx, &own, &attempt, &outcome))
            .await;
        static FAILURES: LogLimiter = LogLimiter::new();
        // What cannot be recorded becomes uncertain when its claim has expired, and is settled by the message's first status.
        if let Err(error) = recorded
            && let Some(suppressed) = FAILURES.failed_with(&error)
        {
            tracing::warn!(%message, %error, suppressed, "what became of a message could not be noted");
        }
        drop(slot);
        self.waker.0.wake();
    }

    async fn hand_over(&self, attempt: &ClaimedAttempt) -> SendOutcome {
        let outbound = match attempt.outbound() {
            Ok(outbound) => outbound,
            Err(title) => {
                let code = serde_json::Value::Null;
                return SendOutcome::Refused(Refusal { code, title, details: None });
            }
        };
        let key = ChannelKey::Channel { business: attempt.business_id, id: attempt.channel_id };
        let channel = match self.directory.find_anew(&key).await {
            Ok(Some(channel)) => channel,
            Ok(None) => {
                let (code, title) = (serde_json::Value::Null, "Its channel was deleted.".to_owned());
                return SendOutcome::Refused(Refusal { code, title, details: None });
            }
            Err(error) => return SendOutcome::NotSent(error.to_string()),
        };
        let adapter = if attempt.channel_kind == LOOPBACK { &self.loopback } else { &self.whatsapp };
        adapter.send(&channel, &outbound).await
    }
}
