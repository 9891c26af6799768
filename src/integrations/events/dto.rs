//! An event and a page of the event log as JSON.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Text};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::base::timestamp;

/// A change of a row.
#[derive(Serialize, ToSchema)]
#[schema(as = Event, examples(json!({
    "id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71", "sequence": 4711, "type": "lead.updated", "resource": "leads",
    "row_id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c72", "changed": ["status"],
    "changes": { "status": { "old": "proposal", "new": "won" } },
    "actor": { "kind": "user", "id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73" },
    "request_id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c79", "created_at": "2026-11-20T09:30:00.000000Z",
})))]
pub struct EventJson<'e> {
    /// The same wherever the event appears; that of its entry in the audit log.
    pub id: Uuid,
    /// Its number: 1, 2, 3 … in each business, without gaps.
    #[schema(minimum = 1)]
    pub sequence: i64,
    /// A resource and what happened: `lead.updated`.
    #[serde(rename = "type")]
    pub event_type: &'e str,
    /// What kind of row.
    pub resource: &'e str,
    /// Which row.
    pub row_id: Uuid,
    /// The fields that changed; of an update.
    pub changed: &'e [String],
    /// Each of them as it was and as it is. Empty for a new row, a deleted one, and one that was forgotten since.
    #[schema(value_type = BTreeMap<String, FieldChange>)]
    pub changes: &'e RawValue,
    #[schema(value_type = EventActor)]
    pub actor: &'e EventActor,
    /// The request that did it.
    #[schema(required = true)]
    pub request_id: Option<&'e str>,
    /// When it was done.
    #[serde(serialize_with = "timestamp::serialize")]
    pub created_at: DateTime<Utc>,
}

/// A field that changed.
#[derive(ToSchema)]
pub struct FieldChange {
    /// As it was.
    #[schema(required = false)]
    pub old: Value,
    /// As it is.
    #[schema(required = false)]
    pub new: Value,
}

/// Who did it.
#[derive(QueryableByName, Serialize, ToSchema)]
pub struct EventActor {
    #[diesel(sql_type = Nullable<Text>, column_name = actor_kind)]
    #[schema(value_type = ActorKind)]
    pub kind: Option<String>,
    /// Of the person or the key.
    #[diesel(sql_type = Nullable<diesel::sql_types::Uuid>, column_name = actor_id)]
    #[schema(required = true)]
    pub id: Option<Uuid>,
}

/// A person, a program, or an operator of the database itself.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum ActorKind {
    User,
    ApiKey,
    System,
}

/// A page of the event log.
#[derive(Serialize, ToSchema)]
pub struct EventPage<'p> {
    #[schema(value_type = Vec<EventJson>)]
    pub data: Vec<&'p RawValue>,
    pub page: EventPageInfo,
}

/// Where a page stands in the log.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "limit": 50, "next": null, "last": 4711 })))]
pub struct EventPageInfo {
    /// How many events a page has at most.
    #[schema(minimum = 1)]
    pub limit: u32,
    /// `after` of the next page; null when there is no more now.
    #[schema(minimum = 0, required = true)]
    pub next: Option<i64>,
    /// The newest number there is, seen or not: where to go on later.
    #[schema(minimum = 0)]
    pub last: i64,
}
