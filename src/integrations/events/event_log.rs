//! Reads the event log: events with their numbers, joined with their audit log entries.

use std::collections::{HashMap, HashSet};

use diesel::pg::PgConnection;
use uuid::Uuid;

use super::event_types::{About, EventRegistry, EventType, EventTypes};
use super::query::After;
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::{RawRow, Statement};
use crate::resource::{Field, FieldType, Resource, RowVisibility, row_json, select};

/// Numbers that one read scans for the wanted types. They have no gaps, so a reader of rare types continues from there.
const MAX_POSITION_LAG: i64 = 10_000;

/// Fields of an event, in the order of [`columns`]. In JSON the type stands before `resource`, and the actor is a nested
/// object.
pub static FIELDS: [Field; 10] = [
    Field::named(
        "id",
        FieldType::Uuid,
        r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#,
        "UUIDv7, so it sorts by creation.",
    )
    .read_only()
    .not_null(),
    Field::named(
        "sequence",
        FieldType::Int { min: 1, max: i64::MAX },
        "4711",
        "Its number: 1, 2, 3 … in each business, without gaps.",
    )
    .not_null(),
    Field::named("resource", FieldType::Text { min: 1, max: 60 }, r#""leads""#, "What kind of row.").not_null(),
    Field::named("row_id", FieldType::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#, "Which row.").not_null(),
    Field::named("changed", FieldType::Tags, r#"["status"]"#, "The fields that changed; of an update.").not_null(),
    Field::named(
        "changes",
        FieldType::Object,
        r#"{"status":{"old":"new","new":"won"}}"#,
        "Each of them as it was and as it is. Empty for a new row, a deleted one, and one that was forgotten since.",
    )
    .not_null(),
    Field::named(
        "kind",
        FieldType::Choice(&["user", "api_key", "system"]),
        r#""user""#,
        "A person, a program, or the database's own.",
    )
    .not_null(),
    Field::named("id", FieldType::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73""#, "Of the person or the key."),
    Field::named(
        "request_id",
        FieldType::Text { min: 1, max: 64 },
        r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c79""#,
        "The request that did it.",
    ),
    Field::named("created_at", FieldType::Time, r#""2026-11-20T09:30:00Z""#, "When it was done.").not_null(),
];

/// Columns of [`FIELDS`], and the action. The values of a deleted row are shown by the audit log only.
pub fn columns() -> String {
    let changes = "CASE WHEN e.action <> 'deleted' THEN coalesce(a.changes, '{}') ELSE '{}' END";
    format!(
        "e.id, e.sequence, e.resource, e.row_id, ARRAY(SELECT jsonb_object_keys({changes})), {changes}, a.actor_kind, \
         a.actor_id, a.request_id, e.created_at, e.action"
    )
}

/// An event, serialized.
#[derive(Debug)]
pub struct Event {
    pub sequence: i64,
    pub about: About,
    pub json: Vec<u8>,
}

impl Event {
    /// Reads the columns from `offset` on. `None` when there is no event, or its type is unknown to this binary.
    pub fn read(registry: EventRegistry, cells: &RawRow, offset: usize) -> Option<Self> {
        let sequence = cells.int(offset + 1)?;
        let event_type = registry.stored(cells.text(offset + 2)?, cells.text(offset + 10)?)?;
        let about = About { event_type, row: cells.uuid(offset + 3)? };
        let mut json = Vec::with_capacity(512);
        let mut part = |begins: &str, from: usize, to: usize| {
            json.extend_from_slice(begins.as_bytes());
            row_json::members(&mut json, &FIELDS[from..to], cells, offset + from, None);
        };
        part("{", 0, 2);
        part(&format!(",\"type\":\"{}\",", event_type.name()), 2, 6);
        part(",\"actor\":{", 6, 8);
        part("},", 8, 10);
        json.push(b'}');
        Some(Self { sequence, about, json })
    }
}

impl Event {
    /// When the change was made, read from the end of the JSON.
    pub fn created_at(&self) -> &str {
        let end = self.json.len().saturating_sub(2);
        self.json.get(end.saturating_sub(27)..end).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

/// A page of the event log.
#[derive(Debug)]
pub struct Page {
    pub events: Vec<Event>,
    /// All wanted events up to this number are on this page or were before it.
    pub reached: i64,
    /// The newest number.
    pub last: i64,
}

impl Page {
    /// `after` of the next page; `None` when there is no more now.
    pub fn next(&self) -> Option<i64> {
        (self.reached < self.last).then_some(self.reached)
    }
}

/// Reads up to `limit` events of `types` after `after`, without those of rows that the tenant may not see. Queries:
/// one, and for a caller restricted to their own rows one more per resource. Errors: 410 when the next events have
/// expired, or `after` is unknown.
pub fn page(conn: &mut PgConnection, tenant: &Tenant, after: After, types: &EventTypes, limit: u32) -> Result<Page> {
    let from = match after {
        After::Nothing => 0,
        After::Number(number) => number,
        After::Latest => i64::MAX / 2,
    };
    let mut sql = Statement::new(format!(
        "SELECT h.oldest, h.last, {} FROM (SELECT b.id, b.after, \
         (SELECT min(sequence) FROM events m WHERE m.business_id = b.id) AS oldest, \
         (SELECT max(sequence) FROM events m WHERE m.business_id = b.id) AS last FROM (SELECT ",
        columns()
    ));
    sql.bind(tenant.id()).sql(" AS id, ").bind(from);
    sql.push(&format!(
        " AS after) b OFFSET 0) h LEFT JOIN LATERAL (SELECT * FROM events e WHERE e.business_id = h.id \
         AND e.sequence > greatest(h.after, h.oldest - 1) AND e.sequence <= greatest(h.after, h.oldest - 1) + {MAX_POSITION_LAG} \
         AND e.resource || '.' || e.action = ANY("
    ));
    sql.bind(types.stored_names());
    sql.push(&format!(
        ") ORDER BY e.sequence LIMIT {limit}) e ON true \
         LEFT JOIN audit_log a ON a.business_id = e.business_id AND a.id = e.id ORDER BY e.sequence"
    ));
    let rows = sql.rows(conn)?;
    let bound = |index| rows.first().and_then(|row| row.int(index));
    let (oldest, last) = (bound(0).unwrap_or(1), bound(1).unwrap_or(0));
    if let After::Number(number) = after {
        is_kept(number, oldest, last)?;
    }
    let mut events: Vec<Event> = rows.iter().filter_map(|row| Event::read(types.registry, row, 2)).collect();
    let reached = match events.last().filter(|_| events.len() == limit as usize) {
        Some(event) => event.sequence,
        None => from.max(oldest - 1).saturating_add(MAX_POSITION_LAG).min(last),
    };
    let seen = VisibilityFilter::of(conn, tenant, events.iter().map(|event| event.about))?;
    events.retain(|event| seen.has(event.about));
    Ok(Page { events, reached, last })
}

/// Errors: 410 when events after `number` have expired, or there was no such number.
fn is_kept(number: i64, oldest: i64, last: i64) -> Result<()> {
    let gone = |code, what: String| {
        let detail = format!("{what} Read the rows themselves again, and go on with `after=latest` as of before that.");
        Err(Error::Gone { code, detail })
    };
    if number + 1 < oldest {
        return gone(
            "events_expired",
            format!("The events after {number} are not kept any more; the oldest is {oldest}."),
        );
    }
    if number > last {
        return gone("events_unknown", format!("There was no event {number}; the newest is {last}."));
    }
    Ok(())
}

/// The rows that a caller restricted to their own rows may see; `None` when the caller is not restricted.
pub struct VisibilityFilter(Option<HashSet<(usize, Uuid)>>);

impl VisibilityFilter {
    /// Looks up the rows that events are `about`. Queries: none, or one for each resource whose rows are not visible to
    /// all.
    pub fn of(conn: &mut PgConnection, tenant: &Tenant, about: impl Iterator<Item = About>) -> Result<Self> {
        if tenant.restricted_to_user().is_none() {
            return Ok(Self(None));
        }
        let mut asked: HashMap<usize, (&Resource, HashSet<Uuid>)> = HashMap::new();
        for about in about {
            let EventType { resource, index, .. } = about.event_type;
            asked.entry(index).or_insert_with(|| (resource, HashSet::new())).1.insert(about.row);
        }
        let mut seen = HashSet::new();
        for (index, (resource, rows)) in asked {
            if matches!(resource.visibility, RowVisibility::All) {
                seen.extend(rows.into_iter().map(|row| (index, row)));
                continue;
            }
            let mut sql = Statement::new(format!("SELECT t.id FROM {} t", resource.table));
            sql.append(select::tenant_predicate(resource, tenant)).sql(" AND t.id = ANY(");
            sql.bind(rows.into_iter().collect::<Vec<_>>()).sql(")");
            seen.extend(sql.rows(conn)?.iter().filter_map(|row| Some((index, row.uuid(0)?))));
        }
        Ok(Self(Some(seen)))
    }

    pub fn has(&self, about: About) -> bool {
        self.0.as_ref().is_none_or(|seen| seen.contains(&(about.event_type.index, about.row)))
    }
}
