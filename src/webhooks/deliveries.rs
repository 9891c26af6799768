//! Deliveries: what was sent where, what became of it, and sending it again.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::noun::{WEBHOOKS, guard};
use crate::auth::{Area, Business, Tenant};
use crate::db::{Statement, Tx, Value};
use crate::error::{Error, Result};
use crate::events::kinds;
use crate::noun::params::List;
use crate::noun::question::{Question, What};
use crate::noun::store::{self, Row};
use crate::noun::{Field, Kind, Noun, Operations, Search, Sort, select};

const STATUSES: &[&str] = &["waiting", "pending", "delivered", "dead"];
/// Events that one replay looks at; whoever wants more goes on from where it ended.
pub const MOST_REPLAYED: i64 = 5_000;
/// Events that are looked at to find the first since some time.
const MOST_LOOKED_AT: i64 = 10_000;
/// Milliseconds by which the id of an entry may be older than its time.
const DRAWN_EARLIER: u64 = 1_000;

pub static DELIVERIES: Noun = Noun {
    name: "webhook_delivery",
    plural: "webhook-deliveries",
    schema: "WebhookDelivery",
    about: "An event on its way to a webhook.",
    table: "webhook_deliveries",
    area: Area::Webhooks,
    fields: &[
        Field::ID,
        Field::link("webhook_id", "Where to.").read_only().not_null(),
        Field::link("event_id", "The event; receivers get it as `webhook-id`.").read_only().not_null(),
        Field::int("sequence", 0, i64::MAX, "4711", "The event's number; 0 for a ping.").read_only().not_null(),
        Field::text("event_type", 100, r#""lead.updated""#, "The event's type.").read_only().not_null().filter(),
        Field::link("row_id", "The row that it tells of.").read_only().not_null(),
        Field::choice(
            "status",
            STATUSES,
            r#""delivered""#,
            "`waiting`: behind an earlier event of the same row; `pending`: to be sent at `next_attempt_at`; `dead`: given up.",
        )
        .read_only()
        .not_null(),
        Field::int("attempts", 0, i64::MAX, "1", "How often it was tried.").read_only().not_null(),
        Field::time("next_attempt_at", "When it is tried next, while it is pending.").read_only().not_null(),
        Field::new(
            "log",
            Kind::Object,
            r#"{"1":{"at":"2026-11-20T09:30:00.123456Z","status":204,"latency_ms":41,"answer":""}}"#,
            "What became of each attempt, by its number: `at`, `latency_ms`, `status` and the beginning of the `answer`, or an `error`.",
        )
        .read_only()
        .not_null(),
        Field::time("delivered_at", "When it arrived.").read_only(),
        Field::CREATED_AT,
    ],
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::None,
    operations: Operations::NONE,
    cached: false,
    ..Noun::BASE
};

/// Asks for the deliveries of the webhook `id`. Errors: 400; 404.
pub fn of_webhook(id: &str, query: &str, business: &Business) -> Result<Arc<Question>> {
    let id = Uuid::try_parse(id).map_err(|_| store::missing(&WEBHOOKS))?;
    // It would be one value more, and tell of another webhook.
    if url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "webhook_id") {
        let detail = "The webhook is the one of the path; leave `webhook_id` out.";
        return Err(Error::malformed("unknown_parameter", detail));
    }
    let query = if query.is_empty() { format!("webhook_id={id}") } else { format!("{query}&webhook_id={id}") };
    let list = List::parse(&DELIVERIES, &query, business)?;
    Ok(Arc::new(Question::new(&DELIVERIES, What::History(&WEBHOOKS, id, list), business, "")))
}

/// Sends nothing but a greeting to the webhook `id`, even while it is paused. Errors: 404.
pub fn ping(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<(Uuid, Row)> {
    exists(tx, tenant, id)?;
    let delivery = Uuid::now_v7();
    let mut sql = Statement::new(
        "INSERT INTO webhook_deliveries (business_id, id, webhook_id, event_id, sequence, event_type, row_id, status) VALUES (",
    );
    sql.bind(Value::Uuid(Some(tenant.id()))).push(", ").bind(Value::Uuid(Some(delivery))).push(", ");
    sql.bind(Value::Uuid(Some(id))).push(", ").bind(Value::Uuid(Some(delivery))).push(", 0, 'webhook.test', ");
    // Of no row, so it waits for none.
    sql.bind(Value::Uuid(Some(delivery))).push(", 'pending')").run(tx)?;
    Ok((delivery, row(tx, tenant, id, delivery)?))
}

/// Sends a delivery of the webhook `id` again that is delivered or dead. One that is on its way is left as it is. Errors: 404.
pub fn again(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, delivery: Uuid) -> Result<Row> {
    lock(tx, tenant)?;
    guard(tx, tenant, Some(id), None)?;
    let mut sql = Statement::new("UPDATE webhook_deliveries AS t SET status = 'waiting', attempts = 0, log = '{}'");
    sql.append(select::scoped(&DELIVERIES, tenant)).push(" AND t.webhook_id = ").bind(Value::Uuid(Some(id)));
    sql.push(" AND t.id = ").bind(Value::Uuid(Some(delivery)));
    let rows = sql.push(" AND t.status IN ('delivered', 'dead') RETURNING t.row_id").rows(tx)?;
    next(tx, tenant, id, rows.iter().filter_map(|row| row.uuid(0)).collect())?;
    row(tx, tenant, id, delivery)
}

/// From where events are sent again.
#[derive(Clone, Copy, Debug)]
pub enum From {
    After(i64),
    Since(DateTime<Utc>),
}

/// What a replay did.
pub struct Replayed {
    pub deliveries: i64,
    /// After which number there is more to do.
    pub next: Option<i64>,
}

/// Sends what the webhook `id` wants again, from some event on, to the newest. Errors: 404; 403.
pub fn replay(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, from: From) -> Result<Replayed> {
    exists(tx, tenant, id)?;
    let after = match from {
        From::After(number) => number,
        From::Since(time) => before(tx, tenant, time)?,
    };
    lock(tx, tenant)?;
    guard(tx, tenant, Some(id), None)?;
    let business = || Value::Uuid(Some(tenant.id()));
    let mut sql = Statement::new("SELECT max(sequence) FROM events WHERE business_id = ");
    let last = sql.bind(business()).row(tx)?.and_then(|row| row.int(0)).unwrap_or_default();
    let upto = after.saturating_add(MOST_REPLAYED);
    let mut sql = Statement::new(
        "INSERT INTO webhook_deliveries AS t (business_id, webhook_id, event_id, sequence, event_type, row_id, status) \
         SELECT e.business_id, w.id, e.id, e.sequence, e.name || '.' || e.action, e.row_id, 'waiting' FROM (SELECT e.*, ",
    );
    sql.bind(Value::Json(Some(kinds::sent())))
        .push(" ->> e.noun AS name FROM events e WHERE e.business_id = ")
        .bind(business());
    sql.push(" AND e.sequence > ")
        .bind(Value::Int(Some(after)))
        .push(" AND e.sequence <= ")
        .bind(Value::Int(Some(upto)));
    sql.push(") e JOIN webhooks w ON w.business_id = e.business_id AND w.id = ").bind(Value::Uuid(Some(id)));
    sql.push(
        " AND rapport_webhook_wants(w.types, e.name, e.action) WHERE e.name IS NOT NULL \
         ORDER BY e.sequence ON CONFLICT (business_id, webhook_id, event_id) DO UPDATE SET status = 'waiting', attempts = 0, log = '{}' \
         WHERE t.status IN ('delivered', 'dead') RETURNING t.row_id",
    );
    let rows = sql.rows(tx)?;
    let deliveries = rows.len() as i64;
    next(tx, tenant, id, rows.iter().filter_map(|row| row.uuid(0)).collect())?;
    Ok(Replayed { deliveries, next: (upto < last).then_some(upto) })
}

/// Takes the lock of the business' deliveries alone. First of all, because whoever ends one has it before any row.
pub(super) fn lock(tx: &mut Tx<'_>, tenant: &Tenant) -> Result<()> {
    let mut sql = Statement::new("SELECT pg_advisory_xact_lock(rapport_webhook_lock(");
    sql.bind(Value::Uuid(Some(tenant.id()))).push("))").run(tx)?;
    Ok(())
}

/// The number after which all events of `time` and later are; with some earlier ones among them, where transactions were long.
/// By their ids, which begin with the time: of the first that are found the smallest number. They come in the order of commits,
/// and one transaction does less than it looks at.
fn before(tx: &mut Tx<'_>, tenant: &Tenant, time: DateTime<Utc>) -> Result<i64> {
    // The id of an entry is drawn a little earlier than its time.
    let first = u64::try_from(time.timestamp_millis()).unwrap_or_default().saturating_sub(DRAWN_EARLIER);
    let mut sql =
        Statement::new("SELECT min(e.sequence) - 1 FROM (SELECT e.sequence FROM events e WHERE e.business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(" AND e.id >= ");
    sql.bind(Value::Uuid(Some(Uuid::from_u128(u128::from(first.min((1 << 48) - 1)) << 80))));
    sql.push(" AND e.created_at >= ").bind(Value::Time(Some(time))).push(" ORDER BY e.id LIMIT ");
    let row = sql.bind(Value::Int(Some(MOST_LOOKED_AT))).push(") e").row(tx)?;
    Ok(row.and_then(|row| row.int(0)).unwrap_or(i64::MAX / 2))
}

/// The first that waits of each of these rows is to be sent, unless one is already.
fn next(tx: &mut Tx<'_>, tenant: &Tenant, webhook: Uuid, rows: Vec<Uuid>) -> Result<()> {
    let mut sql = Statement::new("SELECT rapport_webhook_next(");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(", ").bind(Value::Uuid(Some(webhook))).push(", ");
    sql.bind(Value::Uuids(rows)).push(")").run(tx)?;
    Ok(())
}

fn exists(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<()> {
    store::one(tx, tenant, &WEBHOOKS, id, &Default::default())?.map(drop).ok_or_else(|| store::missing(&WEBHOOKS))
}

fn row(tx: &mut Tx<'_>, tenant: &Tenant, webhook: Uuid, id: Uuid) -> Result<Row> {
    let missing = || store::missing(&DELIVERIES);
    let mut sql = Statement::new("SELECT t.id FROM webhook_deliveries t");
    sql.append(select::scoped(&DELIVERIES, tenant)).push(" AND t.webhook_id = ").bind(Value::Uuid(Some(webhook)));
    sql.push(" AND t.id = ").bind(Value::Uuid(Some(id))).row(tx)?.ok_or_else(missing)?;
    store::one(tx, tenant, &DELIVERIES, id, &Default::default())?.ok_or_else(missing)
}
