//! What the processing of a lead takes and returns.

use deserr::Deserr;
use serde::Serialize;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::channels::conversations::{CONVERSATIONS, ConversationRow};
use crate::channels::messages::{MESSAGES, MessageRow};
use crate::crm::decisions::{DECISIONS, DecisionRow};
use crate::crm::leads::{LEADS, LeadRow};
use crate::resource::body::{BodyErrors, JsonObject};
use crate::resource::openapi;

/// Fields of a conversation that it accepts beside the message.
pub const TALK: [&str; 5] = ["channel", "channel_id", "address", "contact_id", "subject"];

/// What came of looking at a lead.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "lead": { "status": "qualified", "score": 82 },
    "conversation": {
        "channel": "whatsapp", "address": "+4930123456",
        "message": { "direction": "inbound", "body": "See you on Friday at ten." },
    },
    "decision": { "decision": "qualify", "author": "ai", "reason": "Asks for a date, and has a budget." },
})))]
pub struct LeadProcessingRequest {
    /// A merge patch of the lead.
    #[deserr(default)]
    #[schema(value_type = Option<LeadUpdate>)]
    pub lead: Option<JsonObject>,
    /// The open conversation with this address goes on, or one is opened.
    #[deserr(default)]
    #[schema(value_type = Option<ProcessingConversation>)]
    pub conversation: Option<JsonObject>,
    /// What was decided. Its conversation is the one above, if there is one.
    #[deserr(default)]
    #[schema(value_type = ProcessingDecision)]
    pub decision: Option<JsonObject>,
}

/// The body that changes a lead.
pub struct LeadUpdate;

impl PartialSchema for LeadUpdate {
    fn schema() -> RefOr<Schema> {
        openapi::change(&LEADS, |_| true).into()
    }
}

impl ToSchema for LeadUpdate {}

/// The conversation that goes on or begins.
pub struct ProcessingConversation;

impl PartialSchema for ProcessingConversation {
    fn schema() -> RefOr<Schema> {
        let about = "A conversation, by its channel and address. It is about the lead from now on, and with the lead's contact \
                     where it names nobody.";
        let talk = openapi::creation(&CONVERSATIONS, |name| TALK.contains(&name)).description(Some(about));
        talk.property("message", Ref::from_schema_name(ProcessingMessage::name())).into()
    }
}

impl ToSchema for ProcessingConversation {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((ProcessingMessage::name().into(), ProcessingMessage::schema()));
    }
}

/// The message of that conversation.
pub struct ProcessingMessage;

impl PartialSchema for ProcessingMessage {
    fn schema() -> RefOr<Schema> {
        let said = openapi::creation(&MESSAGES, |name| name != "conversation_id");
        said.description(Some("What was said.")).into()
    }
}

impl ToSchema for ProcessingMessage {}

/// The decision about the lead.
pub struct ProcessingDecision;

impl PartialSchema for ProcessingDecision {
    fn schema() -> RefOr<Schema> {
        let decided = openapi::creation(&DECISIONS, |name| name != "lead_id");
        decided.description(Some("What was decided about the lead.")).into()
    }
}

impl ToSchema for ProcessingDecision {}

/// A lead that was processed, with what was said and decided.
#[derive(Serialize, ToSchema)]
pub struct LeadProcessing {
    /// The lead as it is now.
    pub lead: LeadRow,
    /// The conversation as it is now.
    #[schema(required = true)]
    pub conversation: Option<ConversationRow>,
    /// What was said.
    #[schema(required = true)]
    pub message: Option<MessageRow>,
    /// What was decided.
    pub decision: DecisionRow,
}
