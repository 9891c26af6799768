//! What sending a message takes.

use deserr::Deserr;
use serde_json::json;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::interactive::Interactive;
use crate::channels::messages::MESSAGES;
use crate::resource::body::{BodyErrors, value_type};
use crate::resource::{FieldType, openapi};

/// Fields of a message that its sender gives.
pub const SENDABLE: [&str; 9] =
    ["kind", "body", "media", "author", "author_id", "model", "input_tokens", "output_tokens", "metadata"];

value_type! {
    /// A message of this conversation.
    pub MessageId(Uuid): FieldType::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#;
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

/// The body of `POST /conversations/{id}/messages`.
pub struct SendMessageRequest;

impl PartialSchema for SendMessageRequest {
    fn schema() -> RefOr<Schema> {
        let about = "A message to the customer. `kind` may be left out: it follows from what is given. Files are fetched by the channel from \
                     the `url` of `media`.";
        let id = |about: &str| openapi::value(FieldType::Uuid, about, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#);
        let message = openapi::creation(&MESSAGES, |name| SENDABLE.contains(&name))
            .description(Some(about))
            .examples([json!({ "body": "See you on Friday at ten." })]);
        message
            .property("interactive", Ref::from_schema_name(Interactive::name()))
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
        for (name, schema) in
            [(Interactive::name(), Interactive::schema()), (ReactionRequest::name(), ReactionRequest::schema())]
        {
            schemas.push((name.into(), schema));
        }
        Interactive::schemas(schemas);
        ReactionRequest::schemas(schemas);
    }
}
