//! An event as it is stored, and its JSON.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::deserialize;
use diesel::pg::Pg;
use diesel::row::NamedRow;
use diesel::sql_types::{Array, Nullable, Text, Timestamptz};
use serde::Serialize;
use uuid::Uuid;

use super::event_types::{About, EventRegistry};
use crate::base::error::{Error, Result};
use crate::base::timestamp;
use crate::db::schema::events;

/// Columns of a [`StoredEvent`]: of the event `e` and its entry `a` of the audit log, which may be missing. The values
/// of a deleted row are shown by the audit log only.
pub const COLUMNS: &str = "e.id, e.sequence, e.resource, e.action, e.row_id, \
    ARRAY(SELECT jsonb_object_keys(CASE WHEN e.action <> 'deleted' THEN coalesce(a.changes, '{}') ELSE '{}' END)) AS changed, \
    (CASE WHEN e.action <> 'deleted' THEN coalesce(a.changes, '{}') ELSE '{}' END)::text AS changes, \
    a.actor_kind, a.actor_id, a.request_id, e.created_at";

/// An event with its entry of the audit log.
#[derive(QueryableByName)]
#[diesel(table_name = events)]
pub struct StoredEvent {
    id: Uuid,
    pub sequence: i64,
    resource: String,
    action: String,
    row_id: Uuid,
    /// Names of the fields that changed.
    #[diesel(sql_type = Array<Text>)]
    changed: Vec<String>,
    /// JSON of the old and new values, as PostgreSQL writes it.
    #[diesel(sql_type = Text)]
    changes: String,
    #[diesel(embed)]
    origin: Origin,
}

/// The first members of an event's JSON; `changes` follows.
#[derive(Serialize)]
struct Change<'e> {
    id: Uuid,
    sequence: i64,
    r#type: &'e str,
    resource: &'e str,
    row_id: Uuid,
    changed: &'e [String],
}

/// Where an event comes from: the last members of its JSON.
#[derive(QueryableByName, Serialize)]
struct Origin {
    #[diesel(embed)]
    actor: EventActor,
    #[diesel(sql_type = Nullable<Text>)]
    request_id: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    #[serde(serialize_with = "timestamp::serialize")]
    created_at: DateTime<Utc>,
}

#[derive(QueryableByName, Serialize)]
struct EventActor {
    #[diesel(sql_type = Nullable<Text>, column_name = actor_kind)]
    kind: Option<String>,
    #[diesel(sql_type = Nullable<diesel::sql_types::Uuid>, column_name = actor_id)]
    id: Option<Uuid>,
}

/// An event, serialized.
#[derive(Debug)]
pub struct Event {
    pub sequence: i64,
    pub about: About,
    pub created_at: DateTime<Utc>,
    pub json: Vec<u8>,
}

impl StoredEvent {
    /// Serializes the event. `None`: its type is unknown to this binary.
    pub fn event(&self, registry: EventRegistry) -> Result<Option<Event>> {
        let Some(event_type) = registry.stored(&self.resource, &self.action) else { return Ok(None) };
        let about = About { event_type, row: self.row_id };
        let json = self.json(&event_type.name()).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Some(Event { sequence: self.sequence, about, created_at: self.origin.created_at, json }))
    }

    fn json(&self, type_name: &str) -> serde_json::Result<Vec<u8>> {
        let Self { id, sequence, ref resource, row_id, ref changed, ref changes, ref origin, .. } = *self;
        let mut json = Vec::with_capacity(512);
        serde_json::to_writer(&mut json, &Change { id, sequence, r#type: type_name, resource, row_id, changed })?;
        // In place of the closing brace. The changes are JSON, so they are copied, not parsed and written again.
        json.pop();
        json.extend_from_slice(b",\"changes\":");
        json.extend_from_slice(changes.as_bytes());
        let opening_brace = json.len();
        serde_json::to_writer(&mut json, origin)?;
        json[opening_brace] = b',';
        Ok(json)
    }
}

/// The event of a row of a result; `None` where an outer join found none.
pub struct FoundEvent(pub Option<StoredEvent>);

impl QueryableByName<Pg> for FoundEvent {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> deserialize::Result<Self> {
        let created_at = NamedRow::get::<Nullable<Timestamptz>, Option<DateTime<Utc>>>(row, "created_at")?;
        Ok(Self(created_at.map(|_| StoredEvent::build(row)).transpose()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_of_event_keeps_order_of_members_and_text_of_changes() {
        let id = Uuid::from_u128(0x01939d5e_6f3a_7b21_9c4e_3f8a1d2b5c71);
        let created_at = DateTime::from_timestamp_micros(1_795_858_200_000_000).unwrap();
        let event = StoredEvent {
            id,
            sequence: 4711,
            resource: "leads".into(),
            action: "updated".into(),
            row_id: id,
            changed: vec!["status".into()],
            changes: r#"{"status": {"new": "won", "old": "new"}}"#.into(),
            origin: Origin {
                actor: EventActor { kind: Some("user".into()), id: None },
                request_id: Some("a\"b".into()),
                created_at,
            },
        };
        let json = String::from_utf8(event.json("lead.updated").unwrap()).unwrap();
        let expected = format!(
            r#"{{"id":"{id}","sequence":4711,"type":"lead.updated","resource":"leads","row_id":"{id}","changed":["status"],"#
        ) + r#""changes":{"status": {"new": "won", "old": "new"}},"actor":{"kind":"user","id":null},"#
            + r#""request_id":"a\"b","created_at":"2026-11-28T09:30:00.000000Z"}"#;
        assert_eq!(json, expected);
    }
}
