//! The response of `GET /conversations/{id}/context`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::base::timestamp;
use crate::channels::conversations::ConversationRow;
use crate::channels::messages::MessageRow;

/// A conversation with what belongs to it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationContext {
    /// The conversation, with its `contact` and `lead` as `include` shows them.
    #[schema(value_type = ConversationRow)]
    pub conversation: Box<RawValue>,
    /// The last ten messages, the newest first: a page of `GET /messages`.
    #[schema(value_type = Vec<MessageRow>)]
    pub messages: Box<RawValue>,
    /// That of the contact.
    #[schema(required = true)]
    pub company: Option<ContextCompany>,
    /// Those of the contact that are neither won nor lost, and the conversation's own; the newest ten.
    pub open_leads: Vec<ContextLead>,
    /// The contact's booking that is next, or has begun.
    #[schema(required = true)]
    pub next_booking: Option<ContextBooking>,
    /// Those about the contact, or the conversation's lead; the ten that are due first.
    pub open_tasks: Vec<ContextTask>,
}

/// The company of the contact.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContextCompany {
    pub id: Uuid,
    pub name: String,
}

/// A lead that is open.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContextLead {
    pub id: Uuid,
    pub title: String,
    pub status: String,
    #[schema(required = true)]
    pub assignee_id: Option<Uuid>,
    #[serde(serialize_with = "timestamp::serialize_option")]
    #[schema(required = true)]
    pub entered_at: Option<DateTime<Utc>>,
}

/// A booking that is next.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContextBooking {
    pub id: Uuid,
    pub code: String,
    pub status: String,
    #[schema(required = true)]
    pub staff_id: Option<Uuid>,
    #[serde(serialize_with = "timestamp::serialize_option")]
    #[schema(required = true)]
    pub starts_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "timestamp::serialize_option")]
    #[schema(required = true)]
    pub ends_at: Option<DateTime<Utc>>,
}

/// A task that is open.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContextTask {
    pub id: Uuid,
    pub title: String,
    pub priority: String,
    #[schema(required = true)]
    pub assignee_id: Option<Uuid>,
    #[serde(serialize_with = "timestamp::serialize_option")]
    #[schema(required = true)]
    pub due_at: Option<DateTime<Utc>>,
}
