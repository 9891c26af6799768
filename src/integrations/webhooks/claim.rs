//! Claims due deliveries for this process. A claim is a lease by the database's clock; when it expires, another process
//! claims the delivery.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Text, Timestamptz};
use uuid::Uuid;

use super::message::Message;
use crate::background::Slots;
use crate::base::error::Result;
use crate::db::Statement;
use crate::db::schema::webhook_deliveries;
use crate::integrations::events::EventRegistry;
use crate::integrations::events::stored_event::{COLUMNS, FoundEvent};

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

/// A row of [`claim`]: a delivery with its webhook and its event.
#[derive(QueryableByName)]
#[diesel(table_name = webhook_deliveries)]
pub struct DueDelivery {
    business_id: Uuid,
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    delivery_id: Uuid,
    webhook_id: Uuid,
    row_id: Uuid,
    claim: i64,
    attempts: i32,
    #[diesel(sql_type = Text)]
    url: String,
    #[diesel(sql_type = Text)]
    secret: String,
    /// While it still signs.
    #[diesel(sql_type = Nullable<Text>)]
    previous_secret: Option<String>,
    event_id: Uuid,
    /// 0: a ping.
    sequence: i64,
    #[diesel(sql_type = Timestamptz)]
    requested_at: DateTime<Utc>,
    #[diesel(embed)]
    event: FoundEvent,
}

impl DueDelivery {
    /// Returns the delivery with the message to send.
    pub fn into_claimed(self, registry: EventRegistry) -> Result<ClaimedDelivery> {
        let message = match (self.sequence, self.event.0) {
            (0, _) => Some(Message::ping(self.event_id, self.webhook_id, self.requested_at)),
            (_, Some(stored)) => stored.event(registry)?.map(|event| Message::of_event(self.event_id, &event)),
            (_, None) => None,
        };
        Ok(ClaimedDelivery {
            business: self.business_id,
            id: self.delivery_id,
            webhook: self.webhook_id,
            row: self.row_id,
            claim: self.claim,
            attempts: self.attempts.into(),
            url: self.url,
            secrets: [Some(self.secret), self.previous_secret].into_iter().flatten().collect(),
            message,
        })
    }
}

/// Claims up to `free` due deliveries: of each webhook and of each business at most as many as their free slots, and
/// first of those with the fewest in progress. Only claimed rows are locked. Paused webhooks are sent nothing but
/// pings; these have an index of their own, so that the deliveries that gather there are not read each time. (Rows to
/// lock are found by id: `status || ''` keeps the indexes of due deliveries out of it.)
pub fn claim(free: usize, slots: &Slots, lease_seconds: u64) -> Statement {
    let busy = slots.taken();
    let mut sql = Statement::new("WITH busy AS MATERIALIZED (SELECT * FROM unnest(");
    sql.bind(busy.iter().map(|((owner, _), _)| *owner).collect::<Vec<_>>()).sql(", ");
    sql.bind(busy.iter().map(|((_, webhook), _)| *webhook).collect::<Vec<_>>()).sql(", ");
    sql.bind(busy.iter().map(|(_, count)| *count as i64).collect::<Vec<_>>());
    sql.sql(
        ") AS b (business_id, webhook_id, taken)), hooks AS MATERIALIZED (SELECT w.business_id, w.id, w.status = 'active' AS active, ",
    );
    sql.bind(slots.most_each as i64).sql(
        " - coalesce(b.taken, 0) AS room FROM webhooks w LEFT JOIN busy b ON b.webhook_id = w.id), candidates AS (",
    );
    sql.append(candidates("h.active", "")).sql(" UNION ALL ").append(candidates("NOT h.active", " AND d.sequence = 0"));
    sql.sql(
        "), turns AS (SELECT c.*, coalesce(b.taken, 0) + row_number() OVER (PARTITION BY c.business_id ORDER BY c.next_attempt_at) \
         AS turn FROM candidates c LEFT JOIN (SELECT business_id, sum(taken) AS taken FROM busy GROUP BY business_id) b \
         ON b.business_id = c.business_id), \
         picked AS MATERIALIZED (SELECT * FROM turns WHERE turn <= ",
    );
    sql.bind(slots.most_owned as i64).sql(" ORDER BY turn, next_attempt_at LIMIT ").bind(free as i64).sql(
        "), due AS MATERIALIZED (SELECT d.business_id, d.id FROM picked p CROSS JOIN LATERAL (\
         SELECT d.business_id, d.id FROM webhook_deliveries d WHERE d.business_id = p.business_id AND d.id = p.id \
         AND d.status || '' = 'pending' AND d.next_attempt_at <= now() FOR UPDATE SKIP LOCKED) d), \
         taken AS (UPDATE webhook_deliveries d SET claim = claim + 1, next_attempt_at = now() + make_interval(secs => ",
    );
    sql.bind(lease_seconds as i64).sql(
        ") FROM due WHERE d.business_id = due.business_id AND d.id = due.id RETURNING d.*) \
         SELECT e.business_id, e.delivery_id, e.webhook_id, e.id AS event_id, e.claim, e.attempts, e.requested_at, \
         w.url, w.secret, CASE WHEN w.previous_until > now() THEN w.previous_secret END AS previous_secret, ",
    );
    sql.sql(COLUMNS).sql(
        " FROM (SELECT t.business_id, t.id AS delivery_id, t.webhook_id, t.claim, t.attempts, t.created_at AS requested_at, \
         t.event_id AS id, t.sequence, t.row_id, a.resource, a.action, a.created_at FROM taken t \
         LEFT JOIN audit_log a ON a.business_id = t.business_id AND a.id = t.event_id) e \
         JOIN webhooks w ON w.business_id = e.business_id AND w.id = e.webhook_id \
         LEFT JOIN audit_log a ON a.business_id = e.business_id AND a.id = e.id",
    );
    sql
}

/// Selects due deliveries of the webhooks with `condition`, of each as many as it has room for.
fn candidates(condition: &'static str, deliveries: &'static str) -> Statement {
    let mut sql = Statement::new(
        "SELECT d.* FROM hooks h CROSS JOIN LATERAL (\
         SELECT d.business_id, d.id, d.next_attempt_at FROM webhook_deliveries d \
         WHERE d.business_id = h.business_id AND d.webhook_id = h.id AND d.status = 'pending' AND d.next_attempt_at <= now()",
    );
    sql.sql(deliveries).sql(" ORDER BY d.next_attempt_at LIMIT greatest(0, h.room)) d WHERE ").sql(condition);
    sql
}
