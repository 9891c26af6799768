//! Applies statuses to messages. A message only climbs: in whatever order its statuses come, and however often, it ends the same.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Bool, Nullable, Text};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::opt_outs;
use super::update::StatusUpdate;
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::base::timestamp;
use crate::channels::conversations::totals;
use crate::channels::costs::charge::{self, Charge};
use crate::channels::costs::pricing::is_charged;
use crate::channels::whatsapp::error_codes::{ErrorPolicy, OPTED_OUT, WINDOW_CLOSED};
use crate::db::schema::messages;
use crate::db::{Statement, Tx};

/// Longest reason of a failure in characters.
const MAX_REASON_LEN: usize = 500;

/// How far a message came, and how.
#[derive(Clone, Debug, PartialEq, QueryableByName)]
#[diesel(table_name = messages)]
struct Delivery {
    status: String,
    sent_at: DateTime<Utc>,
    delivered_at: Option<DateTime<Utc>>,
    read_at: Option<DateTime<Utc>>,
    failed_reason: Option<String>,
    error: Option<Json>,
    pricing: Option<Json>,
}

impl Delivery {
    /// Returns it after `update`. The order of updates makes no difference.
    fn after(mut self, update: &StatusUpdate) -> Self {
        let at = update.occurred_at;
        let earliest = |known: Option<DateTime<Utc>>| Some(known.map_or(at, |known| known.min(at)));
        match update.status {
            "sent" => self.sent_at = at,
            "delivered" => self.delivered_at = earliest(self.delivered_at),
            // Delivered is left out where a message is read at once.
            "read" => (self.read_at, self.delivered_at) = (earliest(self.read_at), earliest(self.delivered_at)),
            _ => {}
        }
        if rank(update.status) > rank(&self.status) {
            self.status = update.status.to_owned();
        }
        if let Some(error) = &update.error {
            self.keep_error(error, at);
        }
        // The first that says that it is charged counts, else the first.
        let is_news = |pricing: &&Json| self.pricing.is_none() || (is_charged(pricing) && !self.is_charged());
        if let Some(pricing) = update.pricing.as_ref().filter(is_news) {
            self.pricing = Some(pricing.clone());
        }
        self
    }

    fn is_charged(&self) -> bool {
        self.pricing.as_ref().is_some_and(is_charged)
    }

    /// Keeps the earliest error; a later failure, which may come without one, wipes nothing.
    fn keep_error(&mut self, error: &Json, at: DateTime<Utc>) {
        let at = timestamp::text(at);
        // Of two at the same second always the same one.
        let new = (at.as_str(), error["code"].to_string());
        let is_earlier = |known: &Json| known["at"].as_str().is_some_and(|at| (at, known["code"].to_string()) <= new);
        if self.error.as_ref().is_some_and(is_earlier) {
            return;
        }
        let text = |member: &str| error[member].as_str();
        let reason = text("details").or_else(|| text("title")).unwrap_or("The channel gives no reason.");
        self.failed_reason = Some(reason.chars().take(MAX_REASON_LEN).collect());
        self.error = Some(json!({
            "code": error["code"], "title": error["title"], "details": error["details"], "retry": ErrorPolicy::of(&error["code"]).retry(), "at": at,
        }));
    }
}

/// The place of a status. A failure counts only before the message has arrived somewhere.
fn rank(status: &str) -> u8 {
    match status {
        "sent" => 1,
        #[cfg(feature = "mutants")]
        "failed" if crate::base::mutants::is(crate::base::mutants::Mutant::FailureFalls) => 5,
        "failed" => 2,
        "delivered" => 3,
        "read" => 4,
        _ => 0,
    }
}

/// A message as a status finds it.
#[derive(QueryableByName)]
struct Target {
    #[diesel(embed)]
    delivery: Delivery,
    /// Whether it may get a cost: it has none, and is not of the app on the business' phone, which costs nothing.
    #[diesel(sql_type = Bool)]
    can_be_priced: bool,
    /// Of the conversation.
    #[diesel(sql_type = Nullable<Text>)]
    address: Option<String>,
    /// Of the business.
    #[diesel(sql_type = Text)]
    time_zone: String,
}

/// Applies a status to the message with `id`. Queries: two; more where it moves the conversation's times.
pub fn apply(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, update: &StatusUpdate) -> Result<()> {
    // What came in has no way to go.
    let mut sql = Statement::new(
        "SELECT status, sent_at, delivered_at, read_at, failed_reason, error, pricing, cost IS NULL AND origin = 'api' AS can_be_priced, \
         (SELECT c.address FROM conversations c WHERE c.business_id = messages.business_id AND c.id = conversation_id) AS address, \
         (SELECT b.time_zone FROM businesses b WHERE b.id = messages.business_id) AS time_zone \
         FROM messages WHERE direction = 'outbound' AND business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND id = ").bind(id).sql(" FOR NO KEY UPDATE");
    let Some(Target { delivery: before, can_be_priced, address, time_zone }) = sql.first::<Target>(tx)? else {
        return Ok(());
    };
    let after = before.clone().after(update);
    // With any status that finds a rate: the first one to say that it is charged may come while the rates are being loaded.
    let charge = after.pricing.as_ref().filter(|_| can_be_priced).and_then(|pricing| {
        let number = update.recipient.wa_id.as_ref().map(|digits| format!("+{digits}"));
        let recipients = number.iter().chain(&address).map(String::as_str);
        // Its own time of sending may come later than what happened to it.
        Charge::of(id, pricing, recipients, after.sent_at.min(update.occurred_at), &time_zone)
    });
    let rates = charge.map(|charge| charge::rates(tenant, &[charge]));
    if after != before || rates.is_some() {
        let mut sql = Statement::new("UPDATE messages SET version = version + 1, updated_at = now(), status = ");
        sql.bind(&after.status)
            .sql(", sent_at = ")
            .bind(after.sent_at)
            .sql(", delivered_at = ")
            .bind(after.delivered_at);
        sql.sql(", read_at = ").bind(after.read_at).sql(", failed_reason = ").bind(after.failed_reason.clone());
        sql.sql(", error = ").bind(after.error.clone()).sql(", pricing = ").bind(after.pricing.clone());
        if let Some(rates) = rates.clone() {
            sql.sql(", (cost, cost_currency) = (SELECT p.amount, p.currency FROM (").append(rates).sql(") p)");
        }
        sql.sql(" WHERE business_id = ").bind(tenant.id()).sql(" AND id = ").bind(id);
        // A status that says nothing new changes nothing but the cost.
        if let Some(rates) = rates.filter(|_| after == before) {
            sql.sql(" AND EXISTS (").append(rates).sql(")");
        }
        sql.run(tx)?;
    }
    let closes = update.error.as_ref().is_some_and(|error| error["code"].as_i64() == Some(WINDOW_CLOSED));
    if closes {
        close_window(tx, tenant, id, update.occurred_at)?;
    }
    if update.error.as_ref().is_some_and(|error| error["code"].as_i64() == Some(OPTED_OUT)) {
        opt_outs::note_refusal(tx, tenant, id, update.occurred_at)?;
    }
    if closes || after.sent_at != before.sent_at {
        totals::recount_of(tx, tenant, &[id])?;
    }
    Ok(())
}

/// Notes that no window was open at `at`, in the conversation of a message.
fn close_window(tx: &mut Tx<'_>, tenant: &Tenant, message: Uuid, at: DateTime<Utc>) -> Result<()> {
    let mut sql =
        Statement::new("UPDATE conversations SET version = version + 1, updated_at = now(), window_closed_at = ");
    sql.bind(at)
        .sql(" WHERE business_id = ")
        .bind(tenant.id())
        .sql(" AND id = (SELECT conversation_id FROM messages WHERE business_id = ");
    sql.bind(tenant.id())
        .sql(" AND id = ")
        .bind(message)
        .sql(") AND (window_closed_at IS NULL OR window_closed_at < ")
        .bind(at)
        .sql(")");
    sql.run(tx)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    use super::*;
    use crate::channels::inbound::update::Peer;

    fn update(status: &'static str, second: i64, error: Option<Json>) -> StatusUpdate {
        StatusUpdate {
            target: String::new(),
            status,
            occurred_at: DateTime::from_timestamp(1_795_863_000 + second, 0).unwrap_or_default(),
            recipient: Peer::default(),
            is_of_participant: false,
            error,
            pricing: (second != 1).then(|| json!({ "billable": second % 2 == 0 })),
            callback_data: None,
        }
    }

    fn all() -> Vec<StatusUpdate> {
        let error = |code: i64| Some(json!({ "code": code, "title": "t", "details": null }));
        vec![
            update("sent", 0, None),
            update("delivered", 1, None),
            update("delivered", 3, None),
            update("read", 2, None),
            update("failed", 4, error(131_026)),
            update("failed", 5, error(131_047)),
            update("failed", 5, error(131_049)),
            update("failed", 6, None),
        ]
    }

    fn queued() -> Delivery {
        let sent_at = DateTime::from_timestamp(1_795_862_000, 0).unwrap_or_default();
        Delivery {
            status: "queued".into(),
            sent_at,
            delivered_at: None,
            read_at: None,
            failed_reason: None,
            error: None,
            pricing: None,
        }
    }

    fn end(updates: &[StatusUpdate]) -> Delivery {
        updates.iter().fold(queued(), Delivery::after)
    }

    proptest! {
        /// Any statuses, in any order and any of them twice, end as they do in their own order.
        #[test]
        fn statuses_in_any_order_end_the_same(some in subsequence(all(), 0..=8), seed in any::<u64>(), again in 0_usize..8) {
            let mut shuffled = some.clone();
            shuffled.extend(some.get(again).cloned());
            shuffled.sort_by_key(|update| xxhash_rust::xxh3::xxh3_64_with_seed(format!("{update:?}").as_bytes(), seed));
            prop_assert_eq!(end(&shuffled), end(&some));
        }
    }

    #[test]
    fn failure_counts_only_before_arrival() {
        let all = all();
        let [sent, delivered, _, read, failed, ..] = all.as_slice() else { panic!("eight") };
        let (sent, delivered, read, failed) = (sent.clone(), delivered.clone(), read.clone(), failed.clone());
        assert_eq!(end(&[sent.clone(), failed.clone()]).status, "failed");
        let late = end(&[delivered.clone(), failed.clone()]);
        assert_eq!((late.status.as_str(), &late.error.unwrap_or_default()["retry"]), ("delivered", &json!("never")));
        let seen = end(&[sent, read.clone()]);
        assert_eq!((seen.status.as_str(), seen.delivered_at), ("read", Some(read.occurred_at)));
    }
}
