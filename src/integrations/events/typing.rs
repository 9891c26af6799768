//! `POST /conversations/{id}/typing`: shows other members, on their event streams, that one is writing, and the customer that an answer is. It is
//! no event of the log: it has no number, is not stored, and is not sent to webhooks.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use utoipa::openapi::OpenApi;
use utoipa::{OpenApi as _, ToSchema};
use uuid::Uuid;

use super::signal_relay::SignalRelay;
use crate::auth::Action;
use crate::base::error::{Error, Result};
use crate::base::timestamp;
use crate::channels::conversations::CONVERSATIONS;
use crate::channels::receipts::typing_indicator::TypingIndicator;
use crate::db::Db;
use crate::http::caller::Caller;
use crate::http::idempotency::IdempotencyKey;
use crate::http::openapi_problems::{BodyProblems, CallerProblems, NotFound, ServiceProblems};
use crate::http::routing;
use crate::resource::body::{self, BodyErrors, value_type};
use crate::resource::http::{id, no_parameters};
use crate::resource::list_query::Projection;
use crate::resource::{FieldType, crud, openapi};

/// The type of the event on the stream.
const TYPE: &str = "conversation.typing";

value_type! {
    /// Whether the member is writing; false when they have stopped. True when left out.
    pub IsTyping(bool): FieldType::Bool, "true";
    /// Whether they write a note, for members only.
    pub IsNote(bool): FieldType::Bool, "false";
}

/// What a member is writing.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "is_typing": true })))]
pub struct TypingRequest {
    #[deserr(default)]
    is_typing: Option<IsTyping>,
    #[deserr(default)]
    is_note: Option<IsNote>,
}

/// That a member is writing: the `data` of `conversation.typing` on the stream.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({
    "type": "conversation.typing", "conversation_id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c72",
    "user_id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73", "is_typing": true, "is_note": false,
    "created_at": "2026-11-20T09:30:00.000000Z",
})))]
pub struct Typing {
    #[serde(rename = "type")]
    event_type: &'static str,
    pub conversation_id: Uuid,
    /// Who is writing; null for a program.
    #[schema(required = true)]
    pub user_id: Option<Uuid>,
    pub is_typing: bool,
    pub is_note: bool,
    #[serde(serialize_with = "timestamp::serialize")]
    pub created_at: DateTime<Utc>,
}

/// Registers the route below `/conversations`.
pub fn of_conversations(scope: &mut ServiceConfig) {
    routing::resource("/{id}/typing").on(Method::POST, typing).register(scope);
}

#[utoipa::path(
    post,
    path = "/api/v1/conversations/{id}/typing",
    tag = "conversations",
    operation_id = "showTyping",
    summary = "Show that you are writing",
    description = "A `conversation.typing` without a number goes to the event streams of those who see the conversation, and is kept nowhere. \
                   Send it again every few seconds while you write; who receives it shows it for ten seconds. On WhatsApp the customer is shown \
                   it, too, while the window is open, once in 20 seconds at most; that marks their newest message as read. Not for notes, and not \
                   where the channel's `sends_read_receipts` is false. A program is shown without `user_id`.",
    params(("id" = Uuid, Path, description = "Id of the conversation.")),
    request_body = TypingRequest,
    responses(
        (status = 200, description = "What the streams were sent.", body = Typing),
        (status = 404, response = NotFound),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn typing(
    (db, relay, indicator): (Data<Db>, Data<SignalRelay>, Data<TypingIndicator>),
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = caller.require(CONVERSATIONS.area, Action::Write)?;
    // A key has nothing to repeat here; a wrong one is refused as everywhere.
    IdempotencyKey::from_request(&tenant, &request, &[])?;
    no_parameters(&request)?;
    let conversation = id(&CONVERSATIONS, &request)?;
    let asked = body::read::<TypingRequest>(&body)?;
    let own = tenant.clone();
    let seen = move |conn: &mut diesel::pg::PgConnection| {
        crud::one(conn, &own, &CONVERSATIONS, conversation, &Projection::default())
    };
    let seen = db.for_tenant(&tenant).read("typing", seen).await?;
    seen.ok_or_else(|| crud::not_found(&CONVERSATIONS))?;
    let typing = Typing {
        event_type: TYPE,
        conversation_id: conversation,
        user_id: caller.principal().user(),
        is_typing: asked.is_typing.is_none_or(|flag| flag.0),
        is_note: asked.is_note.is_some_and(|flag| flag.0),
        created_at: Utc::now(),
    };
    // Those who are sent changes of the conversation are sent this.
    let json = serde_json::to_string(&typing).map_err(|error| Error::Internal(error.to_string()))?;
    relay.send(tenant.id(), (CONVERSATIONS.plural, conversation), TYPE, json)?;
    if typing.is_typing && !typing.is_note {
        indicator.into_inner().show(&tenant, conversation);
    }
    Ok(HttpResponse::Ok().json(typing))
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(typing))]
struct TypingApi;

/// Adds the operation to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, TypingApi::openapi());
}
