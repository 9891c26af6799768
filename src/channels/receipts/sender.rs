//! The background task that marks messages as read on their channels, in any process. What it cannot do is logged, and touches no conversation.

use std::sync::Arc;
use std::time::Duration;

use super::read_receipts::{self, ClaimedReceipt};
use crate::auth::Tenant;
use crate::background::{BackgroundTask, LogLimiter, Slot, Slots, TaskOutcome, Waker, detach};
use crate::base::error::Result;
use crate::channels::directory::{ChannelDirectory, ChannelKey};
use crate::channels::sending::outbound::{Adapters, MarkFailure};
use crate::db::{Db, Tx};

/// How often due receipts are looked for: a customer does not see a second.
const PERIOD: Duration = Duration::from_secs(1);
/// Receipts that a process sends at once, and of one channel.
const MAX_AT_ONCE: usize = 32;
const MAX_AT_ONCE_PER_CHANNEL: usize = 8;

/// Sends receipts; shared by the process.
pub struct ReceiptSender {
    db: Db,
    directory: Arc<ChannelDirectory>,
    adapters: Adapters,
    /// Receipts that are being sent.
    slots: Arc<Slots>,
    /// Wakes the task when a slot is free again.
    waker: Waker,
}

impl ReceiptSender {
    pub fn new(db: Db, directory: Arc<ChannelDirectory>, adapters: Adapters) -> Self {
        Self {
            db,
            directory,
            adapters,
            slots: Arc::new(Slots::new(MAX_AT_ONCE, MAX_AT_ONCE_PER_CHANNEL)),
            waker: Waker::default(),
        }
    }

    pub fn task(self) -> BackgroundTask {
        let waker = self.waker.clone();
        let sender = Arc::new(self);
        let run = move || {
            let sender = sender.clone();
            async move { sender.send_due().await }
        };
        BackgroundTask::new("read receipts", PERIOD, run).woken_by(waker)
    }

    async fn send_due(self: &Arc<Self>) -> Result<TaskOutcome> {
        let free = self.slots.free();
        if free == 0 {
            return Ok(TaskOutcome::Rest);
        }
        let slots = self.slots.clone();
        let claim = move |tx: &mut Tx<'_>| read_receipts::claim(tx, free, &slots);
        for receipt in self.db.unscoped().write("receipt_claim", claim).await? {
            let slot = self.slots.take(receipt.business_id, receipt.channel_id);
            detach("read receipt", self.clone().send(receipt, slot));
        }
        Ok(TaskOutcome::Rest)
    }

    /// Sends a receipt, and notes how that ended. What cannot be noted is claimed again when its lease ends.
    async fn send(self: Arc<Self>, receipt: ClaimedReceipt, slot: Slot) {
        static FAILURES: LogLimiter = LogLimiter::new();
        let (tenant, channel) = (Tenant::for_channel(receipt.business_id), receipt.channel_id);
        let sent = self.mark_read(&receipt).await;
        if let Err(failure) = &sent
            && let Some(suppressed) = FAILURES.failed()
        {
            let reason = &failure.reason;
            tracing::warn!(%channel, reason, suppressed, "a message could not be marked as read on its channel");
        }
        let own = tenant.clone();
        let settle = move |tx: &mut Tx<'_>| match sent {
            Err(MarkFailure { passes: true, .. }) => read_receipts::try_again(tx, &own, &receipt),
            _ => read_receipts::finish(tx, &own, &receipt),
        };
        if let Err(error) = self.db.for_tenant(&tenant).write("receipt_settle", settle).await
            && let Some(suppressed) = FAILURES.failed_with(&error)
        {
            tracing::warn!(%channel, %error, suppressed, "how a read receipt ended could not be noted");
        }
        drop(slot);
        self.waker.wake();
    }

    async fn mark_read(&self, receipt: &ClaimedReceipt) -> std::result::Result<(), MarkFailure> {
        let key = ChannelKey::Channel { business: receipt.business_id, id: receipt.channel_id };
        let channel = match self.directory.find_anew(&key).await {
            Ok(Some(channel)) => channel,
            // It was deleted a moment ago.
            Ok(None) => return Ok(()),
            Err(error) => return Err(MarkFailure { reason: error.to_string(), passes: true }),
        };
        let external_id = receipt.external_id.as_deref().unwrap_or_default();
        self.adapters.of(&channel.kind).mark_read(&channel, external_id, false).await
    }
}
