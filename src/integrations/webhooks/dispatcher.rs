//! The webhook dispatcher: claims due deliveries and sends them. Each arrives at least once; one in progress when its
//! process died arrives again, when its claim has expired.

use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::claim::{ClaimedDelivery, DueDelivery, claim};
use super::classify_response::classify_response;
use super::record_attempt::record_attempt;
use super::settings::DispatcherSettings;
use crate::background::{BackgroundTask, ClaimedWork, Slots, TaskOutcome, Waker};
use crate::base::egress::{EgressClient, millis};
use crate::base::error::Result;
use crate::base::telemetry::log_limiter::LogLimiter;
use crate::db::{Db, SessionContext};
use crate::integrations::events::EventRegistry;

/// How often due deliveries are looked for, where none was written by this process.
const PERIOD: Duration = Duration::from_millis(500);
/// Seconds that a claim lasts beyond the response timeout.
const MARGIN_SECONDS: u64 = 5;

/// Wakes the dispatcher of this process: there are deliveries to send.
#[derive(Clone, Debug, Default)]
pub struct DeliveryWaker(pub Waker);

impl DeliveryWaker {
    pub fn wake(&self) {
        self.0.wake();
    }
}

/// The dispatcher of a process.
pub struct Dispatcher {
    db: Db,
    egress: Arc<EgressClient>,
    registry: EventRegistry,
    waker: DeliveryWaker,
    settings: DispatcherSettings,
}

impl Dispatcher {
    pub fn new(
        db: Db,
        egress: Arc<EgressClient>,
        registry: EventRegistry,
        waker: DeliveryWaker,
        settings: DispatcherSettings,
    ) -> Self {
        Self { db, egress, registry, waker, settings }
    }

    /// The task that dispatches.
    pub fn task(self) -> BackgroundTask {
        let slots = Slots::new(self.settings.concurrency, self.settings.concurrency_per_webhook);
        let waker = self.waker.0.clone();
        BackgroundTask::claiming(self, slots, PERIOD, waker)
    }
}

impl ClaimedWork for Dispatcher {
    type Claim = ClaimedDelivery;
    const TASK: &'static str = "webhooks";
    const WORK: &'static str = "webhook delivery";

    async fn claim(&self, free: usize, slots: Arc<Slots>) -> Result<(Vec<ClaimedDelivery>, TaskOutcome)> {
        let due = claim(free, &slots, self.settings.timeout_seconds + MARGIN_SECONDS);
        let claimed = self.db.unscoped().write("webhooks_claim", move |tx| Ok(due.load::<DueDelivery>(tx)?)).await?;
        let outcome = if claimed.is_empty() { TaskOutcome::Rest } else { TaskOutcome::Again };
        let claimed = claimed.into_iter().map(|due| due.into_claimed(self.registry));
        Ok((claimed.collect::<Result<Vec<ClaimedDelivery>>>()?, outcome))
    }

    fn slot_of(delivery: &ClaimedDelivery) -> (Uuid, Uuid) {
        (delivery.business, delivery.webhook)
    }

    async fn work(&self, delivery: ClaimedDelivery) {
        let began = Instant::now();
        let response = match &delivery.message {
            None => None,
            Some(message) => Some(match message.headers(&delivery.secrets) {
                Err(why) => Err(why),
                Ok(headers) => self.egress.post(&delivery.url, &headers, message.body.clone()).await,
            }),
        };
        let attempt = classify_response(&self.settings.retry_schedule, delivery.attempts, response, millis(began));
        let context = SessionContext { business: Some(delivery.business), actor: None };
        let (webhook, outcome, hours) = (delivery.webhook, attempt.outcome, self.settings.disable_after_hours);
        let recorded = self
            .db
            .for_tenant(context)
            .write("webhooks_record", move |tx| record_attempt(tx, &delivery, &attempt, hours));
        static FAILURES: LogLimiter = LogLimiter::new();
        // If the outcome cannot be stored, the delivery is sent again when its claim has expired.
        if let Err(error) = recorded.await
            && let Some(suppressed) = FAILURES.failed_with(&error)
        {
            tracing::warn!(%webhook, %error, suppressed, "what became of a delivery could not be noted");
        }
        tracing::debug!(%webhook, then = ?outcome, "sent");
    }
}
