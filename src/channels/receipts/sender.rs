//! The background task that marks messages as read on their channels, in any process. What it cannot do is logged, and touches no conversation.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::read_receipts::{self, ClaimedReceipt};
use crate::auth::Tenant;
use crate::background::{BackgroundTask, ClaimedWork, LogLimiter, Slots, TaskOutcome, Waker};
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
}

impl ReceiptSender {
    pub fn new(db: Db, directory: Arc<ChannelDirectory>, adapters: Adapters) -> Self {
        Self { db, directory, adapters }
    }

    pub fn task(self) -> BackgroundTask {
        let slots = Slots::new(MAX_AT_ONCE, MAX_AT_ONCE_PER_CHANNEL);
        BackgroundTask::claiming(self, slots, PERIOD, Waker::default())
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

impl ClaimedWork for ReceiptSender {
    type Claim = ClaimedReceipt;
    const TASK: &'static str = "read receipts";
    const WORK: &'static str = "read receipt";

    async fn claim(&self, free: usize, slots: Arc<Slots>) -> Result<(Vec<ClaimedReceipt>, TaskOutcome)> {
        let claim = move |tx: &mut Tx<'_>| read_receipts::claim(tx, free, &slots);
        Ok((self.db.unscoped().write("receipt_claim", claim).await?, TaskOutcome::Rest))
    }

    fn slot_of(receipt: &ClaimedReceipt) -> (Uuid, Uuid) {
        (receipt.business_id, receipt.channel_id)
    }

    /// Sends a receipt, and notes how that ended. What cannot be noted is claimed again when its lease ends.
    async fn work(&self, receipt: ClaimedReceipt) {
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
    }
}
