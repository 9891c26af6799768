//! Message rates: what a channel charges for a message, by market, category and the day from which it counts.

use uuid::Uuid;

use super::costs::pricing::CATEGORIES;
use super::costs::{late_rates, markets};
use crate::auth::{Area, Tenant, TenantSettings};
use crate::base::error::Result;
use crate::db::schema::message_rates;
use crate::db::{SqlValue, Tx};
use crate::resource::{
    Changeset, Field, FieldType, Hooks, PendingRow, Resource, Search, Sort, ValidationErrors, did_you_mean,
};

/// Longest name of a market in characters.
const MAX_MARKET_LEN: usize = 40;

pub static MESSAGE_RATES: Resource = Resource {
    name: "message_rate",
    plural: "message-rates",
    schema: "MessageRate",
    description: "What a channel charges for a message to a market: the rate card of WhatsApp, imported as CSV. It prices messages when they \
            are charged, and those of the last 90 days that have no cost when rates change; a cost that a message has stays.",
    table: "message_rates",
    area: Area::Business,
    fields: &[
        Field::id(message_rates::id),
        Field::text(
            message_rates::external_id,
            200,
            r#""DE:marketing:2026-10-01""#,
            "By what imports and upserts find it; `<market>:<category>:<valid_from>` when left out.",
        )
        .filter()
        .unique(),
        Field::text(
            message_rates::market,
            MAX_MARKET_LEN,
            r#""DE""#,
            "The recipient's country (ISO 3166-1 alpha-2), or a region of the rate card, such as `rest_of_africa`; names of the rate card \
             (`Rest of Africa`) are understood.",
        )
        .required()
        .once()
        .filter(),
        Field::choice(message_rates::category, CATEGORIES, r#""marketing""#, "The category that WhatsApp charges the message in.")
            .required()
            .once(),
        Field::new(
            message_rates::valid_from,
            FieldType::Date,
            r#""2026-10-01""#,
            "The first day on which it counts, in the time zone of the business.",
        )
        .required()
        .once(),
        Field::new(message_rates::amount, FieldType::Decimal, r#""0.1131""#, "What a message costs, as a decimal.")
            .required()
            .in_currency(message_rates::currency),
        Field::new(
            message_rates::currency,
            FieldType::Currency,
            r#""EUR""#,
            "Of the amount; the business' own when left out.",
        ),
        Field::metadata(message_rates::metadata),
        Field::version(message_rates::version),
        Field::created_at(message_rates::created_at),
        Field::updated_at(message_rates::updated_at),
    ],
    sorts: &[Sort::column(message_rates::created_at)],
    search: Search::None,
    hooks: Hooks { prepare, after, removed_or_restored, ..Hooks::NONE },
    ..Resource::BASE
};

fn prepare(change: &mut Changeset, _: &TenantSettings, faults: &mut ValidationErrors) {
    let Some(written) = change.text(message_rates::market) else { return };
    let Some(market) = markets::named(written) else {
        // In an update it is another than the row's.
        if !change.creates {
            return;
        }
        let hint = did_you_mean(written, markets::regions());
        let detail = format!("`market` is the code of a country (ISO 3166-1 alpha-2), or a region.{hint}");
        return faults.field("market", "not_a_choice", detail);
    };
    if let (Some(category), Some(SqlValue::Date(Some(valid_from)))) =
        (change.text(message_rates::category), change.get(message_rates::valid_from))
        && change.text(message_rates::external_id).is_none()
    {
        let external_id = format!("{market}:{category}:{valid_from}");
        change.set_where_null(message_rates::external_id, external_id);
    }
    change.set(message_rates::market, market);
}

fn after(tx: &mut Tx<'_>, tenant: &Tenant, _: &[&PendingRow]) -> Result<()> {
    late_rates::enqueue(tx, tenant)
}

fn removed_or_restored(tx: &mut Tx<'_>, tenant: &Tenant, _: &[Uuid]) -> Result<()> {
    late_rates::enqueue(tx, tenant)
}
