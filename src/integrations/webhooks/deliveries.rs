//! Webhook deliveries: the log of what was sent, pings, redelivery and replays.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::delivery_lock::lock_deliveries;
use super::dto::{Replay, ReplayStart};
use super::resource::{WEBHOOKS, guard};
use crate::auth::{Area, Tenant, TenantSettings};
use crate::base::error::{Error, Result};
use crate::db::schema::webhook_deliveries;
use crate::db::{Statement, Tx};
use crate::integrations::events::EventRegistry;
use crate::resource::crud::{self, Row};
use crate::resource::list_query::List;
use crate::resource::read_query::{ReadQuery, ReadTarget};
use crate::resource::{Field, FieldType, Operations, Resource, Search, Sort, row_type, select};

const STATUSES: &[&str] = &["waiting", "pending", "delivered", "dead"];
/// Events that one replay scans; the caller continues from where it ended.
pub const MAX_REPLAYED: i64 = 5_000;
/// Events scanned to find the first since some time.
const MAX_SCANNED: i64 = 10_000;
/// Milliseconds by which the id of an entry may be older than its time.
const DRAWN_EARLIER: u64 = 1_000;

pub static DELIVERIES: Resource = Resource {
    name: "webhook_delivery",
    plural: "webhook-deliveries",
    schema: "WebhookDelivery",
    description: "An event on its way to a webhook.",
    table: "webhook_deliveries",
    area: Area::Webhooks,
    fields: &[
        Field::id(webhook_deliveries::id),
        Field::link(webhook_deliveries::webhook_id, "Where to.").read_only().not_null(),
        Field::link(webhook_deliveries::event_id, "The event; receivers get it as `webhook-id`.").read_only().not_null(),
        Field::int(webhook_deliveries::sequence, 0, i64::MAX, "4711", "The event's number; 0 for a ping.").read_only().not_null(),
        Field::text(webhook_deliveries::event_type, 100, r#""lead.updated""#, "The event's type.").read_only().not_null().filter(),
        Field::link(webhook_deliveries::row_id, "The row that it tells of.").read_only().not_null(),
        Field::choice(
            webhook_deliveries::status,
            STATUSES,
            r#""delivered""#,
            "`waiting`: behind an earlier event of the same row; `pending`: to be sent at `next_attempt_at`; `dead`: given up.",
        )
        .read_only()
        .not_null(),
        Field::int(webhook_deliveries::attempts, 0, i64::MAX, "1", "How often it was tried.").read_only().not_null(),
        Field::time(webhook_deliveries::next_attempt_at, "When it is tried next, while it is pending.").read_only().not_null(),
        Field::new(
            webhook_deliveries::log,
            FieldType::Object,
            r#"{"1":{"at":"2026-11-20T09:30:00.123456Z","status":204,"latency_ms":41,"answer":""}}"#,
            "What became of each attempt, by its number: `at`, `latency_ms`, `status` and the beginning of the `answer`, or an `error`.",
        )
        .read_only()
        .not_null(),
        Field::time(webhook_deliveries::delivered_at, "When it arrived.").read_only(),
        Field::created_at(webhook_deliveries::created_at),
    ],
    sorts: &[Sort::column(webhook_deliveries::created_at)],
    search: Search::None,
    operations: Operations::NONE,
    cacheable: false,
    ..Resource::BASE
};

row_type!(DeliveryRow of DELIVERIES);

/// Builds the list query of the deliveries of webhook `id`. Errors: 400; 404.
pub fn of_webhook(id: &str, query: &str, business: &TenantSettings) -> Result<Arc<ReadQuery>> {
    let id = Uuid::try_parse(id).map_err(|_| crud::not_found(&WEBHOOKS))?;
    // Another value of this filter would show the deliveries of another webhook.
    if url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "webhook_id") {
        let detail = "The webhook is the one of the path; leave `webhook_id` out.";
        return Err(Error::malformed("unknown_parameter", detail));
    }
    let query = if query.is_empty() { format!("webhook_id={id}") } else { format!("{query}&webhook_id={id}") };
    let list = List::parse(&DELIVERIES, &query, business)?;
    Ok(Arc::new(ReadQuery::new(&DELIVERIES, ReadTarget::History(&WEBHOOKS, id, list), business, None)))
}

/// Creates a test delivery to webhook `id`, which is sent even while the webhook is paused. Errors: 404.
pub fn ping(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<(Uuid, Row)> {
    exists(tx, tenant, id)?;
    let delivery = Uuid::now_v7();
    let mut sql = Statement::new(
        "INSERT INTO webhook_deliveries (business_id, id, webhook_id, event_id, sequence, event_type, row_id, status) VALUES (",
    );
    sql.bind(tenant.id()).sql(", ").bind(delivery).sql(", ");
    sql.bind(id).sql(", ").bind(delivery).sql(", 0, 'webhook.test', ");
    // It is about no row, so it waits behind no other delivery.
    sql.bind(delivery).sql(", 'pending')").run(tx)?;
    Ok((delivery, row(tx, tenant, id, delivery)?))
}

/// Sends a delivered or dead delivery of webhook `id` again; one in progress is left unchanged. Errors: 403; 404.
pub fn again(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, delivery: Uuid) -> Result<Row> {
    lock_deliveries(tx, tenant)?;
    guard(tx, tenant, Some(id), None)?;
    let mut sql = Statement::new("UPDATE webhook_deliveries AS t SET status = 'waiting', attempts = 0, log = '{}'");
    sql.append(select::tenant_predicate(&DELIVERIES, tenant)).sql(" AND t.webhook_id = ").bind(id);
    sql.sql(" AND t.id = ").bind(delivery);
    let rows = sql.sql(" AND t.status IN ('delivered', 'dead') RETURNING t.row_id").scalars(tx)?;
    next(tx, tenant, id, rows)?;
    row(tx, tenant, id, delivery)
}

/// Sends what webhook `id` wants again, from some event on to the newest. Errors: 403; 404.
pub fn replay(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, start: ReplayStart) -> Result<Replay> {
    exists(tx, tenant, id)?;
    let after = match start {
        ReplayStart::After(number) => number,
        ReplayStart::Since(time) => before(tx, tenant, time)?,
    };
    lock_deliveries(tx, tenant)?;
    guard(tx, tenant, Some(id), None)?;
    let mut sql = Statement::new("SELECT max(sequence) FROM events WHERE business_id = ");
    let last = sql.bind(tenant.id()).scalar::<Option<i64>>(tx)?.flatten().unwrap_or_default();
    let upto = after.saturating_add(MAX_REPLAYED);
    let mut sql = Statement::new(
        "INSERT INTO webhook_deliveries AS t (business_id, webhook_id, event_id, sequence, event_type, row_id, status) \
         SELECT e.business_id, w.id, e.id, e.sequence, e.name || '.' || e.action, e.row_id, 'waiting' FROM (SELECT e.*, ",
    );
    sql.bind(EventRegistry::of_process().sent()).sql(" ->> e.resource AS name FROM events e WHERE e.business_id = ");
    sql.bind(tenant.id()).sql(" AND e.sequence > ").bind(after).sql(" AND e.sequence <= ").bind(upto);
    sql.sql(") e JOIN webhooks w ON w.business_id = e.business_id AND w.id = ").bind(id);
    sql.sql(
        " AND rapport_webhook_wants(w.types, e.name, e.action) WHERE e.name IS NOT NULL \
         ORDER BY e.sequence ON CONFLICT (business_id, webhook_id, event_id) DO UPDATE SET status = 'waiting', attempts = 0, log = '{}' \
         WHERE t.status IN ('delivered', 'dead') RETURNING t.row_id",
    );
    let rows: Vec<Uuid> = sql.scalars(tx)?;
    let deliveries = rows.len() as i64;
    next(tx, tenant, id, rows)?;
    Ok(Replay { deliveries, next: (upto < last).then_some(upto) })
}

/// Returns the number after which all events of `time` and later come, with some earlier ones among them where
/// transactions were long. It is the smallest number among the first events found by id, since ids begin with the time.
/// Numbers follow the order of commits, and one transaction writes fewer events than are scanned.
fn before(tx: &mut Tx<'_>, tenant: &Tenant, time: DateTime<Utc>) -> Result<i64> {
    // The id of an entry is generated a little earlier than its time.
    let first = u64::try_from(time.timestamp_millis()).unwrap_or_default().saturating_sub(DRAWN_EARLIER);
    let mut sql =
        Statement::new("SELECT min(e.sequence) - 1 FROM (SELECT e.sequence FROM events e WHERE e.business_id = ");
    sql.bind(tenant.id()).sql(" AND e.id >= ");
    sql.bind(Uuid::from_u128(u128::from(first.min((1 << 48) - 1)) << 80));
    sql.sql(" AND e.created_at >= ").bind(time).sql(" ORDER BY e.id LIMIT ");
    let position = sql.bind(MAX_SCANNED).sql(") e").scalar::<Option<i64>>(tx)?;
    Ok(position.flatten().unwrap_or(i64::MAX / 2))
}

/// Makes the first waiting delivery of each of these rows pending, unless one already is.
fn next(tx: &mut Tx<'_>, tenant: &Tenant, webhook: Uuid, rows: Vec<Uuid>) -> Result<()> {
    let mut sql = Statement::new("SELECT rapport_webhook_next(");
    sql.bind(tenant.id()).sql(", ").bind(webhook).sql(", ");
    sql.bind(rows).sql(")").run(tx)?;
    Ok(())
}

fn exists(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<()> {
    crud::one(tx, tenant, &WEBHOOKS, id, &Default::default())?.map(drop).ok_or_else(|| crud::not_found(&WEBHOOKS))
}

fn row(tx: &mut Tx<'_>, tenant: &Tenant, webhook: Uuid, id: Uuid) -> Result<Row> {
    let missing = || crud::not_found(&DELIVERIES);
    let mut sql = Statement::new("SELECT t.id FROM webhook_deliveries t");
    sql.append(select::tenant_predicate(&DELIVERIES, tenant)).sql(" AND t.webhook_id = ").bind(webhook);
    sql.sql(" AND t.id = ").bind(id).scalar::<Uuid>(tx)?.ok_or_else(missing)?;
    crud::one(tx, tenant, &DELIVERIES, id, &Default::default())?.ok_or_else(missing)
}
