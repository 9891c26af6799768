//! What the operations of the inbox take and return.

use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::resource::FieldType;
use crate::resource::body::{BodyErrors, value_type};

value_type! {
    /// Id of a member of the business.
    pub MemberId(Uuid): FieldType::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73""#;
    /// Until when the conversation is out of sight: in the future, a year at most.
    pub SnoozeEnd(DateTime<Utc>): FieldType::Time, r#""2026-11-23T08:00:00Z""#;
    /// Id of a message of the conversation.
    pub MessageId(Uuid): FieldType::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c74""#;
    /// Whether the position may be set to an earlier message: it is unread from there on.
    pub MayGoBack(bool): FieldType::Bool, "false";
}

/// Who answers.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "assignee_id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73" })))]
pub struct AssignmentRequest {
    pub assignee_id: MemberId,
}

/// Until when.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "until": "2026-11-23T08:00:00Z" })))]
pub struct SnoozeRequest {
    pub until: SnoozeEnd,
}

/// How far the caller has read.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "message_id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c74" })))]
pub struct ReadPositionRequest {
    /// The last message that was read, and with it what came in before; all that has come in when left out.
    #[deserr(default)]
    pub message_id: Option<MessageId>,
    /// Otherwise a position never moves backwards.
    #[deserr(default)]
    pub may_go_back: Option<MayGoBack>,
    /// For whom an API key sets it, which is no member itself; users set their own only.
    #[deserr(default)]
    pub user_id: Option<MemberId>,
}

/// How many conversations there are: what the tabs of an inbox show. Those that are closed or snoozed are in `closed` and `snoozed` only.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct ConversationCounts {
    /// `status=active,pending&snoozed=false`
    pub open: i64,
    /// `status=active&snoozed=false`
    pub active: i64,
    /// `status=pending&snoozed=false`
    pub pending: i64,
    /// `snoozed=true`
    pub snoozed: i64,
    /// `status=closed`, counted up to 10,000.
    pub closed: i64,
    /// Whether there are more than `closed`.
    pub closed_is_at_least: bool,
    /// Of those that are open: `assignee_id=me`; null for an API key.
    #[schema(required = true)]
    pub mine: Option<i64>,
    /// Of those that are open: `assignee_id=none`.
    pub unassigned: i64,
    /// Of those that are open: `handler=ai`.
    pub handled_by_ai: i64,
    /// Of those that are open: `unread=true`.
    pub unread: i64,
    /// Of those that are open: `unread_by=me`; null for an API key.
    #[schema(required = true)]
    pub unread_by_me: Option<i64>,
    /// Of those that are open, by channel; the channels with any.
    pub by_channel: Vec<ChannelCount>,
    /// Of those that are open, by label; the labels with any. One with several labels counts for each.
    pub by_label: Vec<LabelCount>,
}

/// How many run through a channel.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelCount {
    /// What kind it is.
    pub channel: String,
    /// The channel itself, where it has one.
    #[schema(required = true)]
    pub channel_id: Option<Uuid>,
    pub count: i64,
}

/// How many have a label.
#[derive(Debug, Serialize, ToSchema)]
pub struct LabelCount {
    pub label_id: Uuid,
    pub count: i64,
}
