//! Campaigns: the marketing that leads come from.

use std::time::Duration;

use crate::auth::Area;
use crate::auth::TenantSettings;
use crate::db::SqlValue;
use crate::db::schema::campaigns;
use crate::resource::{Changeset, Field, FieldType, Hooks, Resource, Sort, ValidationErrors};

const CHANNELS: &[&str] = &["whatsapp", "sms", "email", "web", "ads", "event", "referral", "other"];
const STATUSES: &[&str] = &["draft", "active", "paused", "finished"];

pub static CAMPAIGNS: Resource = Resource {
    name: "campaign",
    plural: "campaigns",
    schema: "Campaign",
    description: "What brought leads in.",
    table: "campaigns",
    area: Area::Business,
    fields: &[
        Field::id(campaigns::id),
        Field::text(campaigns::name, 200, r#""Spring check-up""#, "Its name.").required(),
        Field::choice(campaigns::channel, CHANNELS, r#""whatsapp""#, "Where it ran.").default(r#""other""#),
        Field::choice(campaigns::status, STATUSES, r#""active""#, "How far it is.").default(r#""draft""#),
        Field::new(campaigns::starts_on, FieldType::Date, r#""2026-03-01""#, "Its first day.").filter(),
        Field::new(campaigns::ends_on, FieldType::Date, r#""2026-03-31""#, "Its last day; not before the first.")
            .filter(),
        Field::money(campaigns::budget_minor, campaigns::currency, "250000", "Its budget in minor units."),
        Field::new(
            campaigns::currency,
            FieldType::Currency,
            r#""EUR""#,
            "Of the budget; the business' own when left out.",
        ),
        Field::external_id(campaigns::external_id),
        Field::metadata(campaigns::metadata),
        Field::version(campaigns::version),
        Field::created_at(campaigns::created_at),
        Field::updated_at(campaigns::updated_at),
    ],
    sorts: &[Sort::column(campaigns::created_at), Sort::text("name", "lower(t.name)")],
    hooks: Hooks { prepare, ..Hooks::NONE },
    cache_ttl: Duration::from_secs(1800),
    ..Resource::BASE
};

fn prepare(change: &mut Changeset, _: &TenantSettings, faults: &mut ValidationErrors) {
    if let (Some(SqlValue::Date(Some(first))), Some(SqlValue::Date(Some(last)))) =
        (change.get(campaigns::starts_on), change.get(campaigns::ends_on))
        && last < first
    {
        faults.field("ends_on", "out_of_range", "`ends_on` must not be before `starts_on`.");
    }
}
