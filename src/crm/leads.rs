//! Leads: sales opportunities, from the first contact to won or lost.

mod conversion;
pub mod http;
pub mod locks;

use chrono::Utc;

use crate::auth::TenantSettings;
use crate::db::SqlValue;
use crate::resource::{Changeset, Field, FieldType, Hooks, Relation, Resource, RowVisibility, Sort, ValidationErrors};

const STATUSES: &[&str] = &["new", "contacted", "qualified", "proposal", "won", "lost"];

pub static LEADS: Resource = Resource {
    name: "lead",
    plural: "leads",
    schema: "Lead",
    description: "Chances to sell, from the first contact to won or lost.",
    table: "leads",
    fields: &[
        Field::ID,
        Field::link("company_id", "The company it would be sold to."),
        Field::link("contact_id", "The person it is about."),
        Field::link("campaign_id", "What brought it in."),
        Field::link("assignee_id", "The member who works on it."),
        Field::text("title", 200, r#""New office, 40 desks""#, "What it is about.").required(),
        Field::choice("status", STATUSES, r#""qualified""#, "How far it is. `won` and `lost` close it.")
            .default(r#""new""#),
        Field::int("score", 0, 100, "70", "How promising it is.").default("0").filter(),
        Field::text("source", 100, r#""website""#, "Where it came from.").filter().impersonal(),
        Field::money("value_minor", "currency", "1250000", "What it is worth, in minor units.").filter(),
        Field::new("currency", FieldType::Currency, r#""EUR""#, "Of the value; the business' own when left out.")
            .filter(),
        Field::EXTERNAL_ID,
        Field::TAGS,
        Field {
            default: Some(r#""2026-11-20T09:30:00Z""#),
            ..Field::time("entered_at", "When it came in; now when left out.")
        }
        .not_null()
        .filter(),
        Field::time("first_touch_at", "When someone first answered it.").filter(),
        Field::time("closed_at", "When it was won or lost; set with the status, emptied when it is opened again.")
            .filter(),
        Field::text("lost_reason", 500, r#""Too expensive""#, "Why it was lost."),
        Field::METADATA,
        Field::VERSION,
        Field::CREATED_AT,
        Field::UPDATED_AT,
    ],
    relations: &[
        Relation::one("company", "companies", "company_id", "The company it would be sold to."),
        Relation::one("contact", "contacts", "contact_id", "The person it is about."),
        Relation::one("campaign", "campaigns", "campaign_id", "What brought it in."),
        Relation::one("assignee", "users", "assignee_id", "The member who works on it."),
        Relation::many("conversations", "conversations", "lead_id", "-last_message_at", "Its latest conversations."),
        Relation::many("bookings", "bookings", "lead_id", "-starts_at", "Its latest bookings."),
        Relation::many("tasks", "tasks", "lead_id", "-created_at", "Its newest tasks."),
        Relation::many("decisions", "decisions", "lead_id", "-created_at", "What was decided about it last."),
    ],
    sorts: &[
        Sort::time("created_at", "t.created_at"),
        Sort::time("updated_at", "t.updated_at"),
        Sort::int("score", "t.score"),
        Sort::int("value", "coalesce(t.value_minor, 0)"),
    ],
    visibility: RowVisibility::Assigned("assignee_id"),
    lock_before_references: true,
    hooks: Hooks { prepare, ..Hooks::NONE },
    ..Resource::BASE
};

/// Closes a lead that becomes won or lost, and reopens it when it gets another status.
fn prepare(change: &mut Changeset, _: &TenantSettings, _: &mut ValidationErrors) {
    match change.text("status") {
        Some("won" | "lost") if change.get("closed_at").is_none() => {
            change.set_if_changed("status", "closed_at", SqlValue::Time(Some(Utc::now())));
        }
        Some("won" | "lost") => {}
        Some(_) if !change.creates => {
            change.set_if_changed("status", "closed_at", SqlValue::Time(None));
            if change.get("lost_reason").is_none() {
                change.set_if_changed("status", "lost_reason", SqlValue::Text(None));
            }
        }
        _ => {}
    }
}
