//! The task that sends: claims due attempts, hands them to their channels, and records what came of it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::claim::{self, ClaimedAttempt, Claims};
use super::outbound::{Adapters, OutboundContent, Refusal, SendOutcome};
use super::record;
use crate::auth::Tenant;
use crate::background::{BackgroundTask, ClaimedWork, LogLimiter, Slots, TaskOutcome, Waker};
use crate::base::error::{Error, Result};
use crate::base::telemetry::metrics;
use crate::channels::directory::{ChannelDirectory, ChannelKey};
use crate::channels::media::send_file::StoredFile;
use crate::db::{Db, Tx};

/// How often a claim is renewed while a file is uploaded: well before it ends.
const RENEWED_EVERY: Duration = Duration::from_secs(15);
/// How often due messages are looked for, where none was written by this process.
const PERIOD: Duration = Duration::from_millis(500);

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
    adapters: Adapters,
    waker: SendWaker,
    settings: SendSettings,
}

impl Sender {
    pub fn new(
        db: Db,
        directory: Arc<ChannelDirectory>,
        adapters: Adapters,
        waker: SendWaker,
        settings: SendSettings,
    ) -> Self {
        Self { db, directory, adapters, waker, settings }
    }

    /// The task that sends.
    pub fn task(self) -> BackgroundTask {
        let slots = Slots::new(self.settings.concurrency, self.settings.concurrency_per_channel);
        let waker = self.waker.0.clone();
        BackgroundTask::claiming(self, slots, PERIOD, waker)
    }

    /// Hands a message over, its file before it. Errors: it did not come to handing it over.
    async fn hand_over(&self, attempt: &ClaimedAttempt) -> std::result::Result<SendOutcome, SendOutcome> {
        let refused =
            |title: String| SendOutcome::Refused(Refusal { code: serde_json::Value::Null, title, details: None });
        let not_sent = |error: Error| SendOutcome::NotSent(error.to_string());
        let mut outbound = attempt.outbound().map_err(refused)?;
        let key = ChannelKey::Channel { business: attempt.business_id, id: attempt.channel_id };
        let channel = self.directory.find_anew(&key).await.map_err(not_sent)?;
        let channel = channel.ok_or_else(|| refused("Its channel was deleted.".to_owned()))?;
        let adapter = self.adapters.of(&attempt.channel_kind);
        if let (Some(file), OutboundContent::Message { uploaded, .. }) = (self.file(attempt), &mut outbound.content) {
            let mut upload = pin!(adapter.upload(&channel, &file));
            *uploaded = loop {
                match tokio::time::timeout(RENEWED_EVERY, upload.as_mut()).await {
                    Ok(done) => break Some(done?),
                    // It takes its time, and the claim shall not end meanwhile.
                    Err(_) => self.renew(attempt).await?,
                }
            };
            self.renew(attempt).await?;
        }
        Ok(adapter.send(&channel, &outbound).await)
    }

    /// Begins the time of a claim anew. Errors: another process has it.
    async fn renew(&self, attempt: &ClaimedAttempt) -> std::result::Result<(), SendOutcome> {
        let (tenant, own) = (Tenant::for_channel(attempt.business_id), attempt.clone());
        let renewed =
            self.db.for_tenant(&tenant).write("sending_renew", move |tx: &mut Tx<'_>| claim::renew(tx, &own)).await;
        match renewed {
            Ok(true) => Ok(()),
            Ok(false) => Err(SendOutcome::NotSent("Another process has the message.".to_owned())),
            Err(error) => Err(SendOutcome::NotSent(error.to_string())),
        }
    }

    /// The file of a message that has one here.
    fn file(&self, attempt: &ClaimedAttempt) -> Option<StoredFile> {
        Some(StoredFile {
            db: self.db.clone(),
            tenant: Tenant::for_channel(attempt.business_id),
            attachment: attempt.attachment_id?,
            mime_type: attempt.mime_type.clone()?,
            file_name: attempt.file_name.clone(),
            bytes: attempt.bytes?.unsigned_abs(),
        })
    }
}

impl ClaimedWork for Sender {
    type Claim = ClaimedAttempt;
    const TASK: &'static str = "sending";
    const WORK: &'static str = "message sending";

    async fn claim(&self, free: usize, slots: Arc<Slots>) -> Result<(Vec<ClaimedAttempt>, TaskOutcome)> {
        let claim = move |tx: &mut Tx<'_>| claim::claim(tx, free, &slots);
        let Claims { attempts, goes_on, next_in } = self.db.unscoped().write("sending_claim", claim).await?;
        let outcome = match next_in {
            _ if goes_on => TaskOutcome::Again,
            // A channel is at its limit.
            Some(milliseconds) => TaskOutcome::RestFor(Duration::from_millis(milliseconds.max(1).unsigned_abs())),
            None => TaskOutcome::Rest,
        };
        Ok((attempts, outcome))
    }

    fn slot_of(attempt: &ClaimedAttempt) -> (Uuid, Uuid) {
        (attempt.business_id, attempt.channel_id)
    }

    async fn work(&self, attempt: ClaimedAttempt) {
        let outcome = match self.hand_over(&attempt).await {
            Ok(outcome) | Err(outcome) => outcome,
        };
        metrics::handed_over(outcome.name());
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
    }
}
