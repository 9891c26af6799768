//! Claims due deliveries for this process. A claim is a lease by the database's clock; when it expires, another process
//! claims the delivery.

use uuid::Uuid;

use super::message::Message;
use crate::background::Slots;
use crate::db::{RawRow, SqlValue, Statement};
use crate::integrations::events::EventRegistry;
use crate::integrations::events::event_log::{self, Event};

/// A delivery claimed by this process.
pub struct ClaimedDelivery {
    pub business: Uuid,
    pub id: Uuid,
    pub webhook: Uuid,
    pub row: Uuid,
    /// Number of the claim: another process that claims the delivery has a larger one.
    pub claim: i64,
    /// Attempts made before.
    pub attempts: i64,
    pub url: String,
    pub secrets: Vec<String>,
    /// `None` when its event is no longer known.
    pub message: Option<Message>,
}

impl ClaimedDelivery {
    /// Reads a row of [`claim`].
    pub fn read(registry: EventRegistry, row: &RawRow) -> Option<Self> {
        const EVENT: usize = 11;
        let (webhook, event) = (row.uuid(2)?, row.uuid(9)?);
        let message = match row.int(EVENT + 1) {
            Some(0) => Some(Message::ping(event, webhook, row.text(10)?)),
            _ => Event::read(registry, row, EVENT)
                .map(|read| Message::of_event(event, &read.about.event_type.name(), read.created_at(), &read.json)),
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

/// Claims up to `free` due deliveries: of each webhook and of each business at most as many as their free slots, and
/// first of those with the fewest in progress. Only claimed rows are locked. Paused webhooks are sent nothing but
/// pings; these have an index of their own, so that the deliveries that gather there are not read each time. (Rows to
/// lock are found by id: `status || ''` keeps the indexes of due deliveries out of it.)
pub fn claim(free: usize, slots: &Slots, lease_seconds: u64) -> Statement {
    let number = |count: usize| SqlValue::Int(Some(count as i64));
    let busy = slots.taken();
    let mut sql = Statement::new("WITH busy AS MATERIALIZED (SELECT * FROM unnest(");
    sql.bind(busy.iter().map(|((owner, _), _)| *owner).collect::<Vec<_>>()).sql(", ");
    sql.bind(busy.iter().map(|((_, webhook), _)| *webhook).collect::<Vec<_>>()).sql(", ");
    sql.bind(busy.iter().map(|(_, count)| *count as i64).collect::<Vec<_>>());
    sql.sql(
        ") AS b (business_id, webhook_id, taken)), hooks AS MATERIALIZED (SELECT w.business_id, w.id, w.status = 'active' AS active, ",
    );
    sql.bind(number(slots.most_each)).sql(
        " - coalesce(b.taken, 0) AS room FROM webhooks w LEFT JOIN busy b ON b.webhook_id = w.id), candidates AS (",
    );
    let arms = [("h.active", ""), ("NOT h.active", " AND d.sequence = 0")];
    for (place, (which, what)) in arms.iter().enumerate() {
        sql.sql(if place == 0 { "" } else { " UNION ALL " }).push(&format!(
            "SELECT d.* FROM hooks h CROSS JOIN LATERAL (\
             SELECT d.business_id, d.id, d.next_attempt_at FROM webhook_deliveries d \
             WHERE d.business_id = h.business_id AND d.webhook_id = h.id AND d.status = 'pending' \
             AND d.next_attempt_at <= now(){what} ORDER BY d.next_attempt_at LIMIT greatest(0, h.room)) d WHERE {which}"
        ));
    }
    sql.sql(
        "), turns AS (SELECT c.*, coalesce(b.taken, 0) + row_number() OVER (PARTITION BY c.business_id ORDER BY c.next_attempt_at) \
         AS turn FROM candidates c LEFT JOIN (SELECT business_id, sum(taken) AS taken FROM busy GROUP BY business_id) b \
         ON b.business_id = c.business_id), \
         picked AS MATERIALIZED (SELECT * FROM turns WHERE turn <= ",
    );
    sql.bind(number(slots.most_owned)).sql(" ORDER BY turn, next_attempt_at LIMIT ").bind(number(free)).sql(
        "), due AS MATERIALIZED (SELECT d.business_id, d.id FROM picked p CROSS JOIN LATERAL (\
         SELECT d.business_id, d.id FROM webhook_deliveries d WHERE d.business_id = p.business_id AND d.id = p.id \
         AND d.status || '' = 'pending' AND d.next_attempt_at <= now() FOR UPDATE SKIP LOCKED) d), \
         taken AS (UPDATE webhook_deliveries d SET claim = claim + 1, next_attempt_at = now() + make_interval(secs => ",
    );
    sql.bind(lease_seconds as i64).sql(
        ") FROM due WHERE d.business_id = due.business_id AND d.id = due.id RETURNING d.*) \
         SELECT e.business_id, e.delivery, e.webhook_id, e.row_id, e.claim, e.attempts, w.url, w.secret, \
         CASE WHEN w.previous_until > now() THEN w.previous_secret END, e.id, \
         to_char(e.begun AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), ",
    );
    sql.push(&event_log::columns());
    sql.sql(
        " FROM (SELECT t.business_id, t.id AS delivery, t.webhook_id, t.claim, t.attempts, t.created_at AS begun, t.event_id AS id, \
         t.sequence, t.row_id, a.resource, a.action, a.created_at FROM taken t \
         LEFT JOIN audit_log a ON a.business_id = t.business_id AND a.id = t.event_id) e \
         JOIN webhooks w ON w.business_id = e.business_id AND w.id = e.webhook_id \
         LEFT JOIN audit_log a ON a.business_id = e.business_id AND a.id = e.id",
    );
    sql
}
