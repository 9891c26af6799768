//! Settings of the webhook dispatcher.

use super::retry_schedule::RetrySchedule;

#[derive(Clone, Debug)]
pub struct DispatcherSettings {
    /// Longest wait for the response of an endpoint, in seconds.
    pub timeout_seconds: u64,
    pub retry_schedule: RetrySchedule,
    /// Deliveries that are in progress at once in this process.
    pub concurrency: usize,
    /// Of these, those of one webhook.
    pub concurrency_per_webhook: usize,
    /// After so many hours without a delivery that arrived a webhook is paused.
    pub disable_after_hours: u32,
}
