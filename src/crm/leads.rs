//! Leads: sales opportunities, from the first contact to won or lost.

mod conversion;
mod dto;
pub mod http;
pub mod locks;

use chrono::{DateTime, Utc};

use crate::auth::TenantSettings;
use crate::db::schema::{bookings, conversations, decisions, leads, tasks};
use crate::resource::{
    Changeset, Field, FieldType, Hooks, Relation, Resource, RowVisibility, Sort, ValidationErrors, row_type,
};

const STATUSES: &[&str] = &["new", "contacted", "qualified", "proposal", "won", "lost"];

/// Those before a lead is won or lost, in order.
pub const STAGES: &[&str] = &["new", "contacted", "qualified", "proposal"];

pub static LEADS: Resource = Resource {
    name: "lead",
    plural: "leads",
    schema: "Lead",
    description: "Chances to sell, from the first contact to won or lost.",
    table: "leads",
    fields: &[
        Field::id(leads::id),
        Field::link(leads::company_id, "The company it would be sold to."),
        Field::link(leads::contact_id, "The person it is about."),
        Field::link(leads::campaign_id, "What brought it in."),
        Field::link(leads::assignee_id, "The member who works on it."),
        Field::text(leads::title, 200, r#""New office, 40 desks""#, "What it is about.").required(),
        Field::choice(leads::status, STATUSES, r#""lost""#, "How far it is. `won` and `lost` close it.")
            .default(r#""new""#),
        Field {
            filter: false,
            ..Field::choice(
                leads::furthest_stage,
                STAGES,
                r#""proposal""#,
                "How far it ever was, also once it is lost.",
            )
        }
        .read_only()
        .not_null(),
        Field::int(leads::score, 0, 100, "70", "How promising it is.").default("0").filter(),
        Field::text(leads::source, 100, r#""website""#, "Where it came from.").filter().impersonal(),
        Field::money(leads::value_minor, leads::currency, "1250000", "What it is worth, in minor units.").filter(),
        Field::new(leads::currency, FieldType::Currency, r#""EUR""#, "Of the value; the business' own when left out.")
            .filter(),
        Field::external_id(leads::external_id),
        Field::tags(leads::tags),
        Field {
            default: Some(r#""2026-11-20T09:30:00Z""#),
            ..Field::time(leads::entered_at, "When it came in; now when left out.")
        }
        .not_null()
        .filter(),
        Field::time(leads::first_touch_at, "When someone first answered it.").filter(),
        Field::time(leads::closed_at, "When it was won or lost; set with the status, emptied when it is opened again.")
            .filter(),
        Field::text(leads::lost_reason, 500, r#""Too expensive""#, "Why it was lost."),
        Field::metadata(leads::metadata),
        Field::version(leads::version),
        Field::created_at(leads::created_at),
        Field::updated_at(leads::updated_at),
    ],
    relations: &[
        Relation::one("company", "companies", leads::company_id, "The company it would be sold to."),
        Relation::one("contact", "contacts", leads::contact_id, "The person it is about."),
        Relation::one("campaign", "campaigns", leads::campaign_id, "What brought it in."),
        Relation::one("assignee", "users", leads::assignee_id, "The member who works on it."),
        Relation::many(
            "conversations",
            "conversations",
            conversations::lead_id,
            "-last_message_at",
            "Its latest conversations.",
        ),
        Relation::many("bookings", "bookings", bookings::lead_id, "-starts_at", "Its latest bookings."),
        Relation::many("tasks", "tasks", tasks::lead_id, "-created_at", "Its newest tasks."),
        Relation::many("decisions", "decisions", decisions::lead_id, "-created_at", "What was decided about it last."),
    ],
    sorts: &[
        Sort::column(leads::created_at),
        Sort::column(leads::updated_at),
        Sort::column(leads::score),
        Sort::int("value", "coalesce(t.value_minor, 0)"),
    ],
    visibility: RowVisibility::assigned(leads::assignee_id),
    lock_before_references: true,
    hooks: Hooks { prepare, ..Hooks::NONE },
    ..Resource::BASE
};

row_type!(LeadRow of LEADS);

/// Closes a lead that becomes won or lost, and reopens it when it gets another status.
fn prepare(change: &mut Changeset, _: &TenantSettings, _: &mut ValidationErrors) {
    match change.text(leads::status) {
        Some("won" | "lost") if change.get(leads::closed_at).is_none() => {
            change.set_if_changed(leads::status, leads::closed_at, Utc::now());
        }
        Some("won" | "lost") => {}
        Some(_) if !change.creates => {
            change.set_if_changed(leads::status, leads::closed_at, None::<DateTime<Utc>>);
            if change.get(leads::lost_reason).is_none() {
                change.set_if_changed(leads::status, leads::lost_reason, None::<String>);
            }
        }
        _ => {}
    }
}
