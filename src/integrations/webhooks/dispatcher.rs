//! The webhook dispatcher: claims due deliveries and sends them. Each arrives at least once; one in progress when its
//! process died arrives again, when its claim has expired.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::claim::{ClaimedDelivery, DueDelivery, claim};
use super::classify_response::classify_response;
use super::record_attempt::record_attempt;
use super::settings::DispatcherSettings;
use crate::background::{BackgroundTask, Slot, Slots, TaskOutcome, Waker, detach};
use crate::base::egress::{EgressClient, millis};
use crate::base::error::Result;
use crate::base::telemetry::log_limiter::LogLimiter;
use crate::db::{Db, SessionContext};
use crate::integrations::events::EventRegistry;

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
    /// Deliveries in progress.
    slots: Arc<Slots>,
}

impl Dispatcher {
    pub fn new(
        db: Db,
        egress: Arc<EgressClient>,
        registry: EventRegistry,
        waker: DeliveryWaker,
        settings: DispatcherSettings,
    ) -> Self {
        let slots = Arc::new(Slots::new(settings.concurrency, settings.concurrency_per_webhook));
        Self { db, egress, registry, waker, settings, slots }
    }

    /// The task that dispatches.
    pub fn task(self) -> BackgroundTask {
        let waker = self.waker.0.clone();
        let dispatcher = Arc::new(self);
        let run = move || {
            let dispatcher = dispatcher.clone();
            async move { dispatcher.dispatch().await }
        };
        BackgroundTask::new("webhooks", Duration::from_millis(500), run).woken_by(waker)
    }

    async fn dispatch(self: &Arc<Self>) -> Result<TaskOutcome> {
        let free = self.slots.free();
        if free == 0 {
            return Ok(TaskOutcome::Rest);
        }
        let due = claim(free, &self.slots, self.settings.timeout_seconds + MARGIN_SECONDS);
        let claimed = self.db.unscoped().write("webhooks_claim", move |tx| Ok(due.load::<DueDelivery>(tx)?)).await?;
        let claimed = claimed.into_iter().map(|due| due.into_claimed(self.registry));
        let claimed = claimed.collect::<Result<Vec<ClaimedDelivery>>>()?;
        let outcome = if claimed.is_empty() { TaskOutcome::Rest } else { TaskOutcome::Again };
        for delivery in claimed {
            let slot = self.slots.take(delivery.business, delivery.webhook);
            detach("webhook delivery", self.clone().send(delivery, slot));
        }
        Ok(outcome)
    }

    async fn send(self: Arc<Self>, delivery: ClaimedDelivery, slot: Slot) {
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
        drop(slot);
        self.waker.wake();
    }
}
