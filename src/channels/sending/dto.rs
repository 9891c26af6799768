//! What sending a message takes.

use deserr::Deserr;
use serde_json::json;
use utoipa::openapi::{ArrayBuilder, Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::contact_cards::{ContactCard, MAX_CARDS};
use super::interactive::Interactive;
use super::location::Location;
use crate::channels::messages::MESSAGES;
use crate::resource::body::{BodyErrors, JsonObject, value_type};
use crate::resource::{FieldType, openapi};

/// Fields of a message that its sender gives.
pub const SENDABLE: [&str; 13] = [
    "kind",
    "body",
    "media",
    "author",
    "author_id",
    "model",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "ai_cost",
    "latency_ms",
    "run_id",
    "metadata",
];

value_type! {
    /// A message of this conversation.
    pub MessageId(Uuid): FieldType::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#;
    /// The name of a template.
    pub TemplateName(String): FieldType::Text { min: 1, max: 512 }, r#""appointment_reminder""#;
    /// The language of a template.
    pub TemplateLanguage(String): FieldType::Text { min: 2, max: 20 }, r#""en_US""#;
    /// Whether it waits for a person, as a `draft`, and is not sent yet.
    pub IsDraft(bool): FieldType::Bool, "true";
    /// An emoji.
    pub Emoji(String): FieldType::Text { min: 1, max: 64 }, r#""👍""#;
}

/// A reaction to a message, instead of a message.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "message_id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71", "emoji": "👍" })))]
pub struct ReactionRequest {
    pub message_id: MessageId,
    /// Null takes the reaction back.
    #[deserr(default)]
    pub emoji: Option<Emoji>,
}

/// A template to send: the only message that WhatsApp lets through outside of its window.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "name": "appointment_reminder", "language": "en_US", "variables": { "1": "Isla" } })))]
pub struct TemplateRequest {
    pub name: TemplateName,
    pub language: TemplateLanguage,
    /// By name or number, also of the header (`header.1`) and of buttons (`button.0`).
    #[deserr(default)]
    #[schema(value_type = Option<Object>)]
    pub variables: Option<JsonObject>,
}

/// What the sending of a draft takes.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "if_last_message_id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71" })))]
pub struct ApprovalRequest {
    /// Send it only if this is still the last message; else 409 `conversation_moved`.
    #[deserr(default)]
    pub if_last_message_id: Option<MessageId>,
}

/// The body of `POST /conversations/{id}/messages`.
pub struct SendMessageRequest;

impl PartialSchema for SendMessageRequest {
    fn schema() -> RefOr<Schema> {
        let about = "A message to the customer. `kind` may be left out: it follows from what is given. A file is the \
                     `attachment_id` of an upload (`POST /attachments`) in `media`, or a `url` that the channel fetches.";
        let id = |about: &str| openapi::value(FieldType::Uuid, about, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#);
        let cards = ArrayBuilder::new()
            .items(Ref::from_schema_name(ContactCard::name()))
            .min_items(Some(1))
            .max_items(Some(MAX_CARDS))
            .description(Some("Contact cards. Their names are the `body`."));
        let message = openapi::creation(&MESSAGES, |name| SENDABLE.contains(&name))
            .description(Some(about))
            .examples([json!({ "body": "See you on Friday at ten." })]);
        message
            .property("interactive", Ref::from_schema_name(Interactive::name()))
            .property("location", Ref::from_schema_name(Location::name()))
            .property("contacts", cards)
            .property("template", Ref::from_schema_name(TemplateRequest::name()))
            .property("draft", IsDraft::schema())
            .property("reaction", Ref::from_schema_name(ReactionRequest::name()))
            .property("reply_to_id", id("The message that it answers."))
            .property(
                "if_last_message_id",
                id("Send it only if this is still the last message; else 409 `conversation_moved`."),
            )
            .into()
    }
}

impl ToSchema for SendMessageRequest {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        for (name, schema) in [
            (Interactive::name(), Interactive::schema()),
            (Location::name(), Location::schema()),
            (ContactCard::name(), ContactCard::schema()),
            (TemplateRequest::name(), TemplateRequest::schema()),
            (ReactionRequest::name(), ReactionRequest::schema()),
        ] {
            schemas.push((name.into(), schema));
        }
        Interactive::schemas(schemas);
        Location::schemas(schemas);
        ContactCard::schemas(schemas);
        TemplateRequest::schemas(schemas);
        ReactionRequest::schemas(schemas);
    }
}
