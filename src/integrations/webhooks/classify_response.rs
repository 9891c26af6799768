//! Judges the response to a delivery: delivered, to be tried again, or dead.

use chrono::Utc;
use serde_json::{Value as Json, json};

use super::retry_schedule::{RetrySchedule, retry_after};
use crate::base::egress::EgressResponse;
use crate::base::timestamp;

/// Characters of a response that are stored.
const MAX_RESPONSE_EXCERPT: usize = 300;

/// The outcome of an attempt.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Entry of the delivery's log.
    pub log: Json,
    pub outcome: DeliveryOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DeliveryOutcome {
    Delivered,
    /// Retried after so many seconds.
    Again(f64),
    Dead,
    /// Dead, and the webhook is paused.
    Gone,
}

/// Judges `response`, which came after `latency` milliseconds. It is `None` when there was nothing to send, because the
/// event is not known any more. `attempts` were made before.
pub fn classify_response(
    schedule: &RetrySchedule,
    attempts: i64,
    response: Option<Result<EgressResponse, String>>,
    latency: i64,
) -> Attempt {
    let at = timestamp::text(Utc::now());
    let again = |asked| schedule.pause(attempts, asked).map_or(DeliveryOutcome::Dead, DeliveryOutcome::Again);
    let (log, outcome) = match response {
        None => (json!({ "at": at, "error": "What it told of is not known any more." }), DeliveryOutcome::Dead),
        Some(Err(why)) => (json!({ "at": at, "latency_ms": latency, "error": why }), again(None)),
        Some(Ok(response)) => {
            let mut log = json!({ "at": at, "status": response.status, "latency_ms": latency, "answer": readable(&response.body) });
            let outcome = match response.status {
                200..=299 => DeliveryOutcome::Delivered,
                410 => DeliveryOutcome::Gone,
                429 | 503 => again(retry_after(&response)),
                status => {
                    if (300..=399).contains(&status) {
                        log["error"] =
                            json!("Redirects are not followed. Give the webhook the address that it leads to.");
                    }
                    again(None)
                }
            };
            (log, outcome)
        }
    };
    Attempt { log, outcome }
}

fn readable(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().filter(|c| !c.is_control() || *c == '\n').take(MAX_RESPONSE_EXCERPT).collect()
}
