//! The webhook dispatcher: claims due deliveries and sends them. A claim is a lease by the database's clock; when it
//! expires, another process claims the delivery. So each arrives at least once, and one in progress when its process
//! died arrives again.

use std::time::{Duration, Instant};

use actix_web::web::Data;
use chrono::{DateTime, Utc};
use futures_util::future::LocalBoxFuture;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::args::WebhookArgs;
use super::message::Message;
use crate::app::state::AppState;
use crate::background::{BackgroundTask, Slot, Slots, TaskOutcome, detach};
use crate::base::egress::{EgressResponse, millis};
use crate::base::error::Result;
use crate::base::telemetry::log_limiter::LogLimiter;
use crate::db::{RawRow, SessionContext, SqlValue, Statement, Tx};
use crate::integrations::events::event_log::{self, Event};

/// Seconds that a lease lasts beyond the response timeout.
const MARGIN_SECONDS: u64 = 5;
/// Characters of a response that are stored.
const MAX_RESPONSE_EXCERPT: usize = 300;
/// Longest pause that an endpoint may ask for (`Retry-After`), in seconds.
const MAX_PAUSE: u64 = 86_400;
/// Backoffs vary randomly by this fraction, so that deliveries that failed together are not retried together.
const JITTER: f64 = 0.2;
/// Deliveries purged in one transaction; meanwhile those in progress wait to store their outcome.
const MAX_PURGED: i64 = 1_000;

pub static DISPATCHER: BackgroundTask = BackgroundTask {
    name: "webhooks",
    idle_pause: Duration::from_millis(500),
    waker: Some(|app| &app.wakers.deliveries),
    run: dispatch,
};

pub static PURGE: BackgroundTask =
    BackgroundTask { name: "old deliveries", idle_pause: Duration::from_secs(60), waker: None, run: purge };

/// A delivery claimed by this process.
struct ClaimedDelivery {
    business: Uuid,
    id: Uuid,
    webhook: Uuid,
    row: Uuid,
    claim: i64,
    /// Attempts made before.
    attempts: i64,
    url: String,
    secrets: Vec<String>,
    /// `None` when its event is no longer known.
    message: Option<Message>,
}

fn dispatch(app: Data<AppState>) -> LocalBoxFuture<'static, Result<TaskOutcome>> {
    Box::pin(async move {
        let free = app.delivery_slots.free();
        if free == 0 {
            return Ok(TaskOutcome::Rest);
        }
        let lease = app.config.webhooks.webhook_timeout_seconds + MARGIN_SECONDS;
        let due = claim(free, &app.delivery_slots, lease);
        let taken = app.db.unscoped().write("webhooks_claim", move |tx| Ok(due.rows(tx)?)).await?;
        let taken: Vec<ClaimedDelivery> = taken.iter().filter_map(ClaimedDelivery::read).collect();
        let pace = if taken.is_empty() { TaskOutcome::Rest } else { TaskOutcome::Again };
        for delivery in taken {
            let slot = app.delivery_slots.take(delivery.business, delivery.webhook);
            detach("webhook delivery", send(app.clone(), delivery, slot));
        }
        Ok(pace)
    })
}

/// Claims up to `free` due deliveries: of each webhook and of each business at most as many as their free slots, and
/// first of those with the fewest in progress. Only claimed rows are locked. Paused webhooks are sent nothing but
/// pings; these have an index of their own, so that the deliveries that gather there are not read each time. (Rows to
/// lock are found by id: `status || ''` keeps the indexes of due deliveries out of it.)
pub fn claim(free: usize, slots: &Slots, lease: u64) -> Statement {
    let number = |count: usize| SqlValue::Int(Some(count as i64));
    let busy = slots.taken();
    let mut sql = Statement::new("WITH busy AS MATERIALIZED (SELECT * FROM unnest(");
    sql.bind(SqlValue::Uuids(busy.iter().map(|((owner, _), _)| *owner).collect())).push(", ");
    sql.bind(SqlValue::Uuids(busy.iter().map(|((_, webhook), _)| *webhook).collect())).push(", ");
    sql.bind(SqlValue::Ints(busy.iter().map(|(_, count)| *count as i64).collect()));
    sql.push(
        ") AS b (business_id, webhook_id, taken)), hooks AS MATERIALIZED (SELECT w.business_id, w.id, w.status = 'active' AS active, ",
    );
    sql.bind(number(slots.most_each)).push(
        " - coalesce(b.taken, 0) AS room FROM webhooks w LEFT JOIN busy b ON b.webhook_id = w.id), candidates AS (",
    );
    let arms = [("h.active", ""), ("NOT h.active", " AND d.sequence = 0")];
    for (place, (which, what)) in arms.iter().enumerate() {
        sql.push(if place == 0 { "" } else { " UNION ALL " }).push(&format!(
            "SELECT d.* FROM hooks h CROSS JOIN LATERAL (\
             SELECT d.business_id, d.id, d.next_attempt_at FROM webhook_deliveries d \
             WHERE d.business_id = h.business_id AND d.webhook_id = h.id AND d.status = 'pending' \
             AND d.next_attempt_at <= now(){what} ORDER BY d.next_attempt_at LIMIT greatest(0, h.room)) d WHERE {which}"
        ));
    }
    sql.push(
        "), turns AS (SELECT c.*, coalesce(b.taken, 0) + row_number() OVER (PARTITION BY c.business_id ORDER BY c.next_attempt_at) \
         AS turn FROM candidates c LEFT JOIN (SELECT business_id, sum(taken) AS taken FROM busy GROUP BY business_id) b \
         ON b.business_id = c.business_id), \
         picked AS MATERIALIZED (SELECT * FROM turns WHERE turn <= ",
    );
    sql.bind(number(slots.most_owned)).push(" ORDER BY turn, next_attempt_at LIMIT ").bind(number(free)).push(
        "), due AS MATERIALIZED (SELECT d.business_id, d.id FROM picked p CROSS JOIN LATERAL (\
         SELECT d.business_id, d.id FROM webhook_deliveries d WHERE d.business_id = p.business_id AND d.id = p.id \
         AND d.status || '' = 'pending' AND d.next_attempt_at <= now() FOR UPDATE SKIP LOCKED) d), \
         taken AS (UPDATE webhook_deliveries d SET claim = claim + 1, next_attempt_at = now() + make_interval(secs => ",
    );
    sql.bind(SqlValue::Int(Some(lease as i64))).push(
        ") FROM due WHERE d.business_id = due.business_id AND d.id = due.id RETURNING d.*) \
         SELECT e.business_id, e.delivery, e.webhook_id, e.row_id, e.claim, e.attempts, w.url, w.secret, \
         CASE WHEN w.previous_until > now() THEN w.previous_secret END, e.id, \
         to_char(e.begun AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), ",
    );
    sql.push(&event_log::columns());
    sql.push(
        " FROM (SELECT t.business_id, t.id AS delivery, t.webhook_id, t.claim, t.attempts, t.created_at AS begun, t.event_id AS id, \
         t.sequence, t.row_id, a.resource, a.action, a.created_at FROM taken t \
         LEFT JOIN audit_log a ON a.business_id = t.business_id AND a.id = t.event_id) e \
         JOIN webhooks w ON w.business_id = e.business_id AND w.id = e.webhook_id \
         LEFT JOIN audit_log a ON a.business_id = e.business_id AND a.id = e.id",
    );
    sql
}

impl ClaimedDelivery {
    fn read(row: &RawRow) -> Option<Self> {
        const EVENT: usize = 11;
        let (webhook, event) = (row.uuid(2)?, row.uuid(9)?);
        let message = match row.int(EVENT + 1) {
            Some(0) => Some(Message::ping(event, webhook, row.text(10)?)),
            _ => Event::read(row, EVENT)
                .map(|told| Message::of_event(event, &told.about.kind.name(), told.created_at(), &told.json)),
        };
        Some(Self {
            business: row.uuid(0)?,
            id: row.uuid(1)?,
            webhook,
            row: row.uuid(3)?,
            claim: row.int(4)?,
            attempts: row.int(5)?,
            url: row.text(6)?.to_owned(),
            secrets: [7, 8].into_iter().filter_map(|cell| row.text(cell)).map(str::to_owned).collect(),
            message,
        })
    }
}

/// The outcome of an attempt.
#[derive(Clone, Debug)]
struct Outcome {
    /// Entry of the delivery's log.
    told: Json,
    then: DeliveryOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum DeliveryOutcome {
    Delivered,
    /// Retried after so many seconds.
    Again(f64),
    Dead,
    /// Dead, and the webhook is paused.
    Gone,
}

async fn send(app: Data<AppState>, delivery: ClaimedDelivery, slot: Slot) {
    let began = Instant::now();
    let answered = match &delivery.message {
        None => None,
        Some(message) => Some(match message.headers(&delivery.secrets) {
            Err(why) => Err(why),
            Ok(headers) => app.egress.post(&delivery.url, &headers, message.body.clone()).await,
        }),
    };
    let outcome = classify_response(&app.config.webhooks, delivery.attempts, answered, millis(began));
    let (business, hours) = (delivery.business, app.config.webhooks.webhook_disable_after_hours);
    let bounds = SessionContext { business: Some(business), actor: None };
    let (then, webhook) = (outcome.then, delivery.webhook);
    let told = app.db.for_tenant(bounds).write("webhooks_told", move |tx| finish(tx, &delivery, &outcome, hours));
    static FAILURES: LogLimiter = LogLimiter::new();
    // If the outcome cannot be stored, the delivery is sent again when its lease has expired.
    if let Err(error) = told.await
        && let Some(suppressed) = FAILURES.failed_with(&error)
    {
        tracing::warn!(%webhook, %error, suppressed, "what became of a delivery could not be noted");
    }
    tracing::debug!(%webhook, ?then, "sent");
    drop(slot);
    app.wakers.deliveries.notify_one();
}

fn classify_response(
    args: &WebhookArgs,
    attempts: i64,
    answered: Option<Result<EgressResponse, String>>,
    latency: i64,
) -> Outcome {
    let at = Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let again = |asked: Option<u64>| match args.webhook_retry_schedule.get(attempts as usize) {
        None => DeliveryOutcome::Dead,
        Some(pause) => {
            let pause = *pause as f64 * rand::random_range(1.0 - JITTER..1.0 + JITTER);
            DeliveryOutcome::Again(pause.max(asked.unwrap_or_default() as f64))
        }
    };
    let (told, then) = match answered {
        None => (json!({ "at": at, "error": "What it told of is not known any more." }), DeliveryOutcome::Dead),
        Some(Err(why)) => (json!({ "at": at, "latency_ms": latency, "error": why }), again(None)),
        Some(Ok(answer)) => {
            let mut told =
                json!({ "at": at, "status": answer.status, "latency_ms": latency, "answer": readable(&answer.body) });
            let then = match answer.status {
                200..=299 => DeliveryOutcome::Delivered,
                410 => DeliveryOutcome::Gone,
                429 | 503 => again(retry_after(&answer)),
                status => {
                    if (300..=399).contains(&status) {
                        told["error"] =
                            json!("Redirects are not followed. Give the webhook the address that it leads to.");
                    }
                    again(None)
                }
            };
            (told, then)
        }
    };
    Outcome { told, then }
}

/// Parses seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(answer: &EgressResponse) -> Option<u64> {
    let text = answer.headers.get("retry-after")?.to_str().ok()?.trim();
    let seconds = text.parse().ok().or_else(|| {
        let time = DateTime::parse_from_rfc2822(text).ok()?;
        u64::try_from((time.with_timezone(&Utc) - Utc::now()).num_seconds()).ok()
    });
    seconds.map(|seconds| seconds.min(MAX_PAUSE))
}

fn readable(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().filter(|c| !c.is_control() || *c == '\n').take(MAX_RESPONSE_EXCERPT).collect()
}

/// Stores the outcome of a delivery, unless another process has claimed it since; when the delivery is over, the next
/// one of its row becomes pending. Pauses a webhook whose endpoint is gone or has failed for `hours`.
fn finish(tx: &mut Tx<'_>, delivery: &ClaimedDelivery, outcome: &Outcome, hours: u32) -> Result<()> {
    let (business, webhook) = (SqlValue::Uuid(Some(delivery.business)), SqlValue::Uuid(Some(delivery.webhook)));
    // Before any row lock, in the same order everywhere.
    let mut sql = Statement::new("SELECT pg_advisory_xact_lock_shared(rapport_webhook_lock(");
    sql.bind(business.clone()).push("))").run(tx)?;
    let set = match outcome.then {
        DeliveryOutcome::Delivered => "status = 'delivered', delivered_at = now()",
        DeliveryOutcome::Again(_) => "next_attempt_at = now() + make_interval(secs => ",
        DeliveryOutcome::Dead | DeliveryOutcome::Gone => "status = 'dead'",
    };
    let mut sql = Statement::new(format!("UPDATE webhook_deliveries SET {set}"));
    if let DeliveryOutcome::Again(pause) = outcome.then {
        sql.bind(SqlValue::Int(Some((pause * 1000.0) as i64))).push(" / 1000.0::double precision)");
    }
    sql.push(", attempts = attempts + 1, log = log || jsonb_build_object((attempts + 1)::text, ");
    // A response may repeat what was sent, and the person it was about may have been erased meanwhile.
    sql.bind(SqlValue::Json(Some(outcome.told.clone())));
    sql.push(" - CASE WHEN EXISTS (SELECT FROM audit_log a WHERE a.action = 'erased' AND a.business_id = ");
    sql.bind(business.clone()).push(" AND a.row_id = ").bind(SqlValue::Uuid(Some(delivery.row)));
    sql.push(") THEN ARRAY['answer'] ELSE ARRAY[]::text[] END) WHERE business_id = ").bind(business.clone());
    sql.push(" AND id = ").bind(SqlValue::Uuid(Some(delivery.id))).push(" AND status = 'pending' AND claim = ");
    if sql.bind(SqlValue::Int(Some(delivery.claim))).run(tx)? == 0 {
        return Ok(());
    }
    if !matches!(outcome.then, DeliveryOutcome::Again(_)) {
        let mut sql = Statement::new("SELECT rapport_webhook_next(");
        sql.bind(business.clone()).push(", ").bind(webhook.clone()).push(", ");
        sql.bind(SqlValue::Uuids(vec![delivery.row])).push(")").run(tx)?;
    }
    let health = match outcome.then {
        DeliveryOutcome::Delivered => "UPDATE webhooks SET failing_since = NULL WHERE failing_since IS NOT NULL",
        _ => "UPDATE webhooks SET failing_since = now() WHERE failing_since IS NULL",
    };
    let mut sql = Statement::new(health);
    sql.push(" AND business_id = ").bind(business.clone()).push(" AND id = ").bind(webhook.clone()).run(tx)?;
    let given_up = match outcome.then {
        DeliveryOutcome::Delivered => return Ok(()),
        DeliveryOutcome::Gone => Statement::new(pause("The endpoint answered 410 Gone.", "true")),
        _ => Statement::new(pause(
            &format!("Nothing has arrived for {hours} hours."),
            &format!("failing_since < now() - interval '{hours} hours'"),
        )),
    };
    let mut sql = given_up;
    sql.push(" AND business_id = ").bind(business).push(" AND id = ").bind(webhook).run(tx)?;
    Ok(())
}

fn pause(because: &str, when: &str) -> String {
    format!(
        "UPDATE webhooks SET status = 'paused', paused_because = '{because}', version = version + 1, updated_at = now() \
         WHERE status = 'active' AND {when}"
    )
}

fn purge(app: Data<AppState>) -> LocalBoxFuture<'static, Result<TaskOutcome>> {
    Box::pin(async move {
        let days = app.config.events.events_retention_days;
        let forgotten = app.db.unscoped().write("webhooks_forget", move |tx| {
            let mut sql = Statement::new(format!("SELECT rapport_purge_deliveries(now() - interval '{days} days', "));
            let row = sql.bind(SqlValue::Int(Some(MAX_PURGED))).push("::integer)").row(tx)?;
            Ok(row.and_then(|row| row.int(0)).unwrap_or_default())
        });
        Ok(if forgotten.await? > 0 { TaskOutcome::Again } else { TaskOutcome::Rest })
    })
}
