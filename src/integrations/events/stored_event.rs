//! An event as it is stored, and its JSON.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::deserialize;
use diesel::pg::Pg;
use diesel::row::NamedRow;
use diesel::sql_types::{Array, Nullable, Text, Timestamptz};
use uuid::Uuid;

use super::dto::{EventActor, EventJson};
use super::event_types::{About, EventRegistry};
use crate::base::error::{Error, Result};
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

/// Where an event comes from.
#[derive(QueryableByName)]
struct Origin {
    #[diesel(embed)]
    actor: EventActor,
    #[diesel(sql_type = Nullable<Text>)]
    request_id: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
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
        let Origin { actor, request_id, created_at } = &self.origin;
        serde_json::to_vec(&EventJson {
            id: self.id,
            sequence: self.sequence,
            event_type: type_name,
            resource: &self.resource,
            row_id: self.row_id,
            changed: &self.changed,
            // Copied as PostgreSQL wrote them, not parsed and written again.
            changes: serde_json::from_str(&self.changes)?,
            actor,
            request_id: request_id.as_deref(),
            created_at: *created_at,
        })
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
