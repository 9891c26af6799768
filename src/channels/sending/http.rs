//! HTTP handlers of `POST /conversations/{id}/messages`, `POST /messages/{id}/retry` and `POST /messages/{id}/approval`.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::attempts::MessageAttemptRow;
use super::compose::Composition;
use super::dto::{ApprovalRequest, MessageId, SendMessageRequest};
use super::sender::SendWaker;
use super::{approval, retry};
use crate::auth::{Action, Principal};
use crate::base::error::Result;
use crate::channels::conversations::CONVERSATIONS;
use crate::channels::messages::{MESSAGES, MessageRow};
use crate::db::{Db, Tx};
use crate::http::caller::Caller;
use crate::http::openapi_problems::{
    BodyProblems, CallerProblems, Conflict, NotFound, PreconditionFailed, ServiceProblems,
};
use crate::http::payload::BodyLimits;
use crate::http::precondition::IfMatch;
use crate::http::{idempotency, routing};
use crate::resource::body::{self, NoBody};
use crate::resource::http::{id, may_change, no_parameters};
use crate::resource::openapi::{self, IfMatchHeader};

/// Registers the route below `/conversations`.
pub fn of_conversations(scope: &mut ServiceConfig) {
    routing::resource("/{id}/messages").on(Method::POST, send).register(scope);
}

/// Registers the route below `/messages`.
pub fn of_messages(scope: &mut ServiceConfig) {
    routing::resource("/{id}/retry").on(Method::POST, send_again).register(scope);
    routing::resource("/{id}/approval").on(Method::POST, approve).register(scope);
}

#[utoipa::path(
    post,
    path = "/api/v1/conversations/{id}/messages",
    tag = "conversations",
    operation_id = "sendMessage",
    summary = "Send a message",
    description = "The message is written and will be sent, in one transaction; the messages of a conversation are sent in their order. It is \
                   `queued` until the channel says more: follow it by events, or read it again. Outside of WhatsApp's customer service window \
                   only templates go through: 409 `window_closed`; none of the category `marketing` to who has stopped those: 409 `opted_out`. A `reaction` puts an emoji on a message, which is returned. \
                   With `if_last_message_id`, 409 `conversation_moved` says that something was said meanwhile. What failed is sent again with \
                   `POST /messages/{id}/retry`; `GET /message-attempts` lists what came of each try.",
    params(("id" = Uuid, Path, description = "Id of the conversation.")),
    request_body = SendMessageRequest,
    responses(
        (status = 201, description = "Written, and queued.", body = MessageRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn send(
    (db, limits, waker): (Data<Db>, Data<BodyLimits>, Data<SendWaker>),
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = may_change(&caller, &MESSAGES, Action::Write)?;
    no_parameters(&request)?;
    let conversation = id(&CONVERSATIONS, &request)?;
    let user = match caller.principal() {
        Principal::User { id, .. } => Some(id),
        Principal::Key(_) => None,
    };
    let composed = Composition::read(&body, limits.max_depth, caller.business(), user)?;
    let own = tenant.clone();
    let write = move |tx: &mut Tx<'_>| composed.run(tx, &own, conversation);
    let reply = idempotency::write(&db, &tenant, &request, &body, "send_message", write).await?;
    waker.0.wake();
    Ok(reply)
}

#[utoipa::path(
    post,
    path = "/api/v1/messages/{id}/retry",
    tag = "messages",
    operation_id = "retryMessage",
    summary = "Send a message that failed again",
    description = "Queues another attempt. Refused with 409: `not_retryable` where the error says that it fails again, or the message did not \
                   fail; `outcome_uncertain` while nobody knows whether it arrived; `window_closed` where only templates go through.",
    params(("id" = Uuid, Path, description = "Id of the message.")),
    responses(
        (status = 201, description = "Queued.", body = MessageAttemptRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        CallerProblems,
        ServiceProblems,
    )
)]
async fn send_again(
    (db, waker): (Data<Db>, Data<SendWaker>),
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = may_change(&caller, &MESSAGES, Action::Write)?;
    no_parameters(&request)?;
    let message = id(&MESSAGES, &request)?;
    body::read::<NoBody>(&body)?;
    let own = tenant.clone();
    let write = move |tx: &mut Tx<'_>| retry::run(tx, &own, message);
    let reply = idempotency::write(&db, &tenant, &request, &body, "retry_message", write).await?;
    waker.0.wake();
    Ok(reply)
}

#[utoipa::path(
    post,
    path = "/api/v1/messages/{id}/approval",
    tag = "messages",
    operation_id = "approveMessage",
    summary = "Send a draft",
    description = "What a model proposed is sent now, in the name of its author, and the open tasks to answer the conversation are cancelled. Change \
                   the draft before with PATCH, or delete it. Refused with 409: `not_a_draft`, `conversation_moved`, and what \
                   `POST /conversations/{id}/messages` is refused with.",
    params(("id" = Uuid, Path, description = "Id of the message."), IfMatchHeader),
    request_body = ApprovalRequest,
    responses(
        (status = 200, description = "Queued.", body = MessageRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 412, response = PreconditionFailed),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn approve(
    (db, waker): (Data<Db>, Data<SendWaker>),
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = may_change(&caller, &MESSAGES, Action::Write)?;
    no_parameters(&request)?;
    let (message, expected) = (id(&MESSAGES, &request)?, IfMatch::read(&request)?);
    let if_last = body::read::<ApprovalRequest>(&body)?.if_last_message_id.map(|MessageId(id)| id);
    let own = tenant.clone();
    let write = move |tx: &mut Tx<'_>| approval::run(tx, &own, message, if_last, expected);
    let reply = idempotency::write(&db, &tenant, &request, &body, "approve_message", write).await?;
    waker.0.wake();
    Ok(reply)
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(send, send_again, approve))]
struct SendingApi;

/// Adds the operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, SendingApi::openapi());
}
