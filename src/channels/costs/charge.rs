//! Finds the rate of a message that is charged.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value as Json;
use uuid::Uuid;

use super::markets::region_of;
use super::pricing::charged_as;
use crate::auth::Tenant;
use crate::base::{phone, zones};
use crate::db::Statement;

/// What decides what a message costs.
pub struct Charge {
    message: Uuid,
    /// The recipient's, ISO 3166-1 alpha-2.
    country: String,
    category: &'static str,
    /// On which the message was sent.
    day: NaiveDate,
}

impl Charge {
    /// Returns the charge that `pricing` means for a message to the first of `recipients` (E.164) whose country is known; `None` where it
    /// is not charged, or to no known country. The day is that of `zone`, the business' time zone: WhatsApp changes rates at midnight of
    /// the account's.
    pub fn of<'n>(
        message: Uuid,
        pricing: &Json,
        recipients: impl IntoIterator<Item = &'n str>,
        sent_at: DateTime<Utc>,
        zone: &str,
    ) -> Option<Self> {
        let category = charged_as(pricing)?;
        let country = recipients.into_iter().find_map(phone::country)?;
        let day = zones::get(zone).unwrap_or_else(zones::utc).day(sent_at)?;
        Some(Self { message, country, category, day })
    }
}

/// Selects `id` (the message's), `amount` and `currency` of those charges that there is a rate for: of the recipient's country, else of its
/// region where it has one, the latest that was valid on the day.
pub fn rates(tenant: &Tenant, charges: &[Charge]) -> Statement {
    let column = |of: fn(&Charge) -> &str| charges.iter().map(|charge| of(charge).to_owned()).collect::<Vec<_>>();
    let mut sql = Statement::new("SELECT a.id, r.amount, r.currency FROM unnest(");
    sql.bind(charges.iter().map(|charge| charge.message).collect::<Vec<_>>());
    sql.sql(", ").bind(column(|charge| &charge.country));
    sql.sql(", ").bind(column(|charge| region_of(&charge.country).unwrap_or(&charge.country)));
    sql.sql(", ").bind(column(|charge| charge.category));
    sql.sql(", ").bind(charges.iter().map(|charge| charge.day).collect::<Vec<_>>());
    sql.sql(
        ") AS a (id, country, region, category, day) CROSS JOIN LATERAL (SELECT m.amount, m.currency FROM message_rates m \
         WHERE m.category = a.category AND m.market IN (a.country, a.region) AND m.valid_from <= a.day AND m.deleted_at IS NULL \
         AND m.business_id = ",
    );
    sql.bind(tenant.id()).sql(" ORDER BY m.market = a.country DESC, m.valid_from DESC LIMIT 1) r");
    sql
}
