//! Sends what is due. Whoever takes a delivery has it for a while by the database's clock; if they are gone by then, somebody
//! else takes it. So each arrives at least once, and one that was under way when its process died arrives again.

use std::time::{Duration, Instant};

use actix_web::web::Data;
use chrono::{DateTime, Utc};
use futures_util::future::LocalBoxFuture;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::message::Message;
use crate::app::App;
use crate::config::Config;
use crate::db::{Bounds, Cells, Statement, Tx, Value};
use crate::error::Result;
use crate::events::log::{self, Event};
use crate::jobs::{Duty, Pace, Slot, Slots, detach};
use crate::ops::log_limiter::LogLimiter;
use crate::outbound::{Answer, millis};

/// For so long beyond the time that an answer may take, a delivery is whose who took it.
const MARGIN_SECONDS: u64 = 5;
/// Characters of an answer that are kept.
const KEPT: usize = 300;
/// Longest pause that an endpoint may ask for (`Retry-After`), in seconds.
const LONGEST_PAUSE: u64 = 86_400;
/// Pauses are up to so much longer or shorter, so that those that failed together do not come back together.
const JITTER: f64 = 0.2;
/// Deliveries that are forgotten in one transaction; those that are under way wait for it to be told what became of them.
const MOST_FORGOTTEN: i64 = 1_000;

pub static SENDING: Duty = Duty {
    name: "webhooks",
    rest: Duration::from_millis(500),
    woken_by: Some(|app| &app.bells.deliveries),
    run: send_some,
};

pub static FORGETTING: Duty =
    Duty { name: "old deliveries", rest: Duration::from_secs(60), woken_by: None, run: forget };

/// A delivery that was taken.
struct Taken {
    business: Uuid,
    id: Uuid,
    webhook: Uuid,
    row: Uuid,
    claim: i64,
    /// That were made before.
    attempts: i64,
    url: String,
    secrets: Vec<String>,
    /// None, where what it tells of is not known any more.
    message: Option<Message>,
}

fn send_some(app: Data<App>) -> LocalBoxFuture<'static, Result<Pace>> {
    Box::pin(async move {
        let free = app.sending.free();
        if free == 0 {
            return Ok(Pace::Rest);
        }
        let lease = app.config.webhook_timeout_seconds + MARGIN_SECONDS;
        let due = claim(free, &app.sending, lease);
        let taken = app.db.across().write("webhooks_claim", move |tx| Ok(due.rows(tx)?)).await?;
        let taken: Vec<Taken> = taken.iter().filter_map(Taken::read).collect();
        let pace = if taken.is_empty() { Pace::Rest } else { Pace::Again };
        for delivery in taken {
            let slot = app.sending.take(delivery.business, delivery.webhook);
            detach("webhook delivery", send(app.clone(), delivery, slot));
        }
        Ok(pace)
    })
}

/// Takes up to `free` deliveries that are due: of each webhook and of each business at most as many as they may have, less
/// those that they have already, and first of those that have the fewest. Only what is taken is locked. To one that is paused
/// nothing but pings are sent; they have an index of their own, so that what gathers there is not read each time. (What
/// is locked is found by its id: `status || ''` keeps the indexes of what is due out of it.)
pub fn claim(free: usize, slots: &Slots, lease: u64) -> Statement {
    let number = |count: usize| Value::Int(Some(count as i64));
    let busy = slots.taken();
    let mut sql = Statement::new("WITH busy AS MATERIALIZED (SELECT * FROM unnest(");
    sql.bind(Value::Uuids(busy.iter().map(|((owner, _), _)| *owner).collect())).push(", ");
    sql.bind(Value::Uuids(busy.iter().map(|((_, webhook), _)| *webhook).collect())).push(", ");
    sql.bind(Value::Ints(busy.iter().map(|(_, count)| *count as i64).collect()));
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
    sql.bind(Value::Int(Some(lease as i64))).push(
        ") FROM due WHERE d.business_id = due.business_id AND d.id = due.id RETURNING d.*) \
         SELECT e.business_id, e.delivery, e.webhook_id, e.row_id, e.claim, e.attempts, w.url, w.secret, \
         CASE WHEN w.previous_until > now() THEN w.previous_secret END, e.id, \
         to_char(e.begun AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), ",
    );
    sql.push(&log::columns());
    sql.push(
        " FROM (SELECT t.business_id, t.id AS delivery, t.webhook_id, t.claim, t.attempts, t.created_at AS begun, t.event_id AS id, \
         t.sequence, t.row_id, a.noun, a.action, a.created_at FROM taken t \
         LEFT JOIN audit_log a ON a.business_id = t.business_id AND a.id = t.event_id) e \
         JOIN webhooks w ON w.business_id = e.business_id AND w.id = e.webhook_id \
         LEFT JOIN audit_log a ON a.business_id = e.business_id AND a.id = e.id",
    );
    sql
}

impl Taken {
    fn read(row: &Cells) -> Option<Self> {
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

/// What is to become of a delivery.
#[derive(Clone, Debug)]
struct Outcome {
    /// An entry of its log.
    told: Json,
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Delivered,
    /// After so many seconds.
    Again(f64),
    Dead,
    /// And nothing more is to be sent there.
    Gone,
}

async fn send(app: Data<App>, delivery: Taken, slot: Slot) {
    let began = Instant::now();
    let answered = match &delivery.message {
        None => None,
        Some(message) => Some(match message.headers(&delivery.secrets) {
            Err(why) => Err(why),
            Ok(headers) => app.outbound.post(&delivery.url, &headers, message.body.clone()).await,
        }),
    };
    let outcome = judged(&app.config, delivery.attempts, answered, millis(began));
    let (business, hours) = (delivery.business, app.config.webhook_give_up_hours);
    let bounds = Bounds { business: Some(business), actor: None };
    let (then, webhook) = (outcome.then, delivery.webhook);
    let told = app.db.within(bounds).write("webhooks_told", move |tx| finish(tx, &delivery, &outcome, hours));
    static FAILURES: LogLimiter = LogLimiter::new();
    // If it cannot be noted it will be sent again, when whoever has it now has had it long enough.
    if let Err(error) = told.await
        && let Some(suppressed) = FAILURES.failed_with(&error)
    {
        tracing::warn!(%webhook, %error, suppressed, "what became of a delivery could not be noted");
    }
    tracing::debug!(%webhook, ?then, "sent");
    drop(slot);
    app.bells.deliveries.notify_one();
}

fn judged(config: &Config, attempts: i64, answered: Option<Result<Answer, String>>, latency: i64) -> Outcome {
    let at = Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let again = |asked: Option<u64>| match config.webhook_schedule.get(attempts as usize) {
        None => Then::Dead,
        Some(pause) => {
            let pause = *pause as f64 * rand::random_range(1.0 - JITTER..1.0 + JITTER);
            Then::Again(pause.max(asked.unwrap_or_default() as f64))
        }
    };
    let (told, then) = match answered {
        None => (json!({ "at": at, "error": "What it told of is not known any more." }), Then::Dead),
        Some(Err(why)) => (json!({ "at": at, "latency_ms": latency, "error": why }), again(None)),
        Some(Ok(answer)) => {
            let mut told =
                json!({ "at": at, "status": answer.status, "latency_ms": latency, "answer": readable(&answer.body) });
            let then = match answer.status {
                200..=299 => Then::Delivered,
                410 => Then::Gone,
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

/// Seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(answer: &Answer) -> Option<u64> {
    let text = answer.headers.get("retry-after")?.to_str().ok()?.trim();
    let seconds = text.parse().ok().or_else(|| {
        let time = DateTime::parse_from_rfc2822(text).ok()?;
        u64::try_from((time.with_timezone(&Utc) - Utc::now()).num_seconds()).ok()
    });
    seconds.map(|seconds| seconds.min(LONGEST_PAUSE))
}

fn readable(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().filter(|c| !c.is_control() || *c == '\n').take(KEPT).collect()
}

/// Notes what became of a delivery, unless somebody else has taken it since; what waits behind it goes on when it is over.
fn finish(tx: &mut Tx<'_>, delivery: &Taken, outcome: &Outcome, hours: u32) -> Result<()> {
    let (business, webhook) = (Value::Uuid(Some(delivery.business)), Value::Uuid(Some(delivery.webhook)));
    // Before any row, as everybody does.
    let mut sql = Statement::new("SELECT pg_advisory_xact_lock_shared(rapport_webhook_lock(");
    sql.bind(business.clone()).push("))").run(tx)?;
    let set = match outcome.then {
        Then::Delivered => "status = 'delivered', delivered_at = now()",
        Then::Again(_) => "next_attempt_at = now() + make_interval(secs => ",
        Then::Dead | Then::Gone => "status = 'dead'",
    };
    let mut sql = Statement::new(format!("UPDATE webhook_deliveries SET {set}"));
    if let Then::Again(pause) = outcome.then {
        sql.bind(Value::Int(Some((pause * 1000.0) as i64))).push(" / 1000.0::double precision)");
    }
    sql.push(", attempts = attempts + 1, log = log || jsonb_build_object((attempts + 1)::text, ");
    // An answer may say again what was sent, and whoever it was about may have been forgotten while it was under way.
    sql.bind(Value::Json(Some(outcome.told.clone())));
    sql.push(" - CASE WHEN EXISTS (SELECT FROM audit_log a WHERE a.action = 'erased' AND a.business_id = ");
    sql.bind(business.clone()).push(" AND a.row_id = ").bind(Value::Uuid(Some(delivery.row)));
    sql.push(") THEN ARRAY['answer'] ELSE ARRAY[]::text[] END) WHERE business_id = ").bind(business.clone());
    sql.push(" AND id = ").bind(Value::Uuid(Some(delivery.id))).push(" AND status = 'pending' AND claim = ");
    if sql.bind(Value::Int(Some(delivery.claim))).run(tx)? == 0 {
        return Ok(());
    }
    if !matches!(outcome.then, Then::Again(_)) {
        let mut sql = Statement::new("SELECT rapport_webhook_next(");
        sql.bind(business.clone()).push(", ").bind(webhook.clone()).push(", ");
        sql.bind(Value::Uuids(vec![delivery.row])).push(")").run(tx)?;
    }
    let health = match outcome.then {
        Then::Delivered => "UPDATE webhooks SET failing_since = NULL WHERE failing_since IS NOT NULL",
        _ => "UPDATE webhooks SET failing_since = now() WHERE failing_since IS NULL",
    };
    let mut sql = Statement::new(health);
    sql.push(" AND business_id = ").bind(business.clone()).push(" AND id = ").bind(webhook.clone()).run(tx)?;
    let given_up = match outcome.then {
        Then::Delivered => return Ok(()),
        Then::Gone => Statement::new(pause("The endpoint answered 410 Gone.", "true")),
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

fn forget(app: Data<App>) -> LocalBoxFuture<'static, Result<Pace>> {
    Box::pin(async move {
        let days = app.config.events_days;
        let forgotten = app.db.across().write("webhooks_forget", move |tx| {
            let mut sql = Statement::new(format!("SELECT rapport_trim_deliveries(now() - interval '{days} days', "));
            let row = sql.bind(Value::Int(Some(MOST_FORGOTTEN))).push("::integer)").row(tx)?;
            Ok(row.and_then(|row| row.int(0)).unwrap_or_default())
        });
        Ok(if forgotten.await? > 0 { Pace::Again } else { Pace::Rest })
    })
}
