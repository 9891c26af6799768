//! Days on which a member of staff has other hours than in other weeks.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::clock::{DAY, TimeSpan, clock_text, each, minute, refuse_overlaps};
use crate::auth::{Area, TenantSettings};
use crate::db::SqlValue;
use crate::db::schema::schedule_overrides;
use crate::resource::{
    Changeset, Field, FieldType, Hooks, MAX_HOURS, Operations, Relation, Resource, Search, Sort, ValidationErrors,
};

pub static SCHEDULE_OVERRIDES: Resource = Resource {
    name: "schedule_override",
    plural: "schedule-overrides",
    schema: "ScheduleOverride",
    description: "A day on which a member of staff has other hours than in other weeks. It replaces the hours that begin on that day, also on \
                  holidays; a night shift of the day before goes on.",
    table: "schedule_overrides",
    area: Area::Business,
    fields: &[
        Field::id(schedule_overrides::id),
        Field::link(schedule_overrides::staff_id, "Whose hours they are.").required().once(),
        Field::new(
            schedule_overrides::day,
            FieldType::Date,
            r#""2026-12-24""#,
            "The day, in the member's own time zone; one override for each.",
        )
        .required()
        .filter(),
        Field::new(
            schedule_overrides::hours,
            FieldType::Hours,
            r#"[{"start":"09:00","end":"12:00"}]"#,
            "The hours that begin on that day, in place of those of the week: `HH:MM` up to 48:00, as in the weekly hours. None: they do not \
             work.",
        )
        .required(),
        Field::text(schedule_overrides::reason, 200, r#""Christmas Eve""#, "Why."),
        Field::version(schedule_overrides::version),
        Field::created_at(schedule_overrides::created_at),
        Field::updated_at(schedule_overrides::updated_at),
    ],
    relations: &[Relation::one("staff", "staff", schedule_overrides::staff_id, "Whose hours they are.")],
    sorts: &[Sort::column(schedule_overrides::day), Sort::column(schedule_overrides::created_at)],
    default_sort: "day",
    search: Search::None,
    operations: Operations { restore: false, batch: false, ..Operations::ALL },
    hooks: Hooks { prepare, ..Hooks::NONE },
    cache_ttl: Duration::from_secs(1800),
    ..Resource::BASE
};

/// Reads the hours that an override keeps.
pub fn spans_of(kept: &Json) -> Vec<TimeSpan> {
    let span = |entry: &Json| {
        let minute_of = |name: &str| entry[name].as_str().and_then(minute);
        Some(TimeSpan { starts: minute_of("start")?, ends: minute_of("end")? })
    };
    kept.as_array().into_iter().flatten().filter_map(span).collect()
}

/// Hours are kept in order, each as `{"start", "end"}`.
fn prepare(change: &mut Changeset, _: &TenantSettings, errors: &mut ValidationErrors) {
    let Some(SqlValue::Json(Some(list))) = change.get(schedule_overrides::hours) else { return };
    let read = each(list.clone(), MAX_HOURS, "/hours", &["start", "end"], errors, |members, place, errors| {
        TimeSpan::take(members, DAY, place, errors)
    });
    refuse_overlaps(&read, "/hours", errors);
    let mut spans: Vec<TimeSpan> = read.into_iter().map(|(_, span)| span).collect();
    spans.sort();
    let shown = |span: TimeSpan| json!({ "start": clock_text(span.starts), "end": clock_text(span.ends) });
    change.set(schedule_overrides::hours, Json::Array(spans.into_iter().map(shown).collect()));
}
