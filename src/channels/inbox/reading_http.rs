//! HTTP handlers of `/conversations/{id}/read-position`.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use uuid::Uuid;

use super::dto::ReadPositionRequest;
use super::reading::{self, Reading};
use crate::auth::{Action, Principal};
use crate::base::error::{Error, FieldError, Result};
use crate::channels::conversations::CONVERSATIONS;
use crate::channels::read_positions::ReadPositionRow;
use crate::db::{Db, Tx};
use crate::http::caller::Caller;
use crate::http::openapi_problems::{BodyProblems, CallerProblems, NotFound, ServiceProblems};
use crate::http::routing;
use crate::resource::http::{id, no_parameters};
use crate::resource::{body, openapi};

/// Registers the route below `/conversations`.
pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/read-position").on(Method::PUT, note).on(Method::DELETE, forget).register(scope);
}

#[utoipa::path(
    put,
    path = "/api/v1/conversations/{id}/read-position",
    tag = "conversations",
    operation_id = "setReadPosition",
    summary = "Note how far you have read in a conversation",
    description = "Your own position, which is nobody else's: the shared `unread_count` stays. It never moves backwards, unless `may_go_back`: \
                   then the conversation is unread for you from there on. The customer sees that their newest message until there was read, unless the \
                   channel's `sends_read_receipts` is false.",
    params(("id" = Uuid, Path, description = "Id of the conversation.")),
    request_body = ReadPositionRequest,
    responses(
        (status = 200, description = "Your position as it is now.", body = ReadPositionRow),
        (status = 404, response = NotFound),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn note(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(CONVERSATIONS.area, Action::Read)?;
    no_parameters(&request)?;
    let conversation = id(&CONVERSATIONS, &request)?;
    let asked = body::read::<ReadPositionRequest>(&body)?;
    let (principal, named) = (caller.principal(), asked.user_id.map(|user| user.0));
    if principal.user().is_none() {
        caller.require(CONVERSATIONS.area, Action::Write)?;
    }
    let (message, may_go_back) =
        (asked.message_id.map(|message| message.0), asked.may_go_back.is_some_and(|flag| flag.0));
    let own = tenant.clone();
    let note = move |tx: &mut Tx<'_>| {
        reading::must_see(tx, &own, conversation)?;
        let user = reader(principal, named)?;
        reading::note(tx, &own, Reading { conversation, user, message, may_go_back })
    };
    let position = db.for_tenant(&tenant).write("read_position", note).await?;
    Ok(position.answer().reply())
}

#[utoipa::path(
    delete,
    path = "/api/v1/conversations/{id}/read-position",
    tag = "conversations",
    operation_id = "deleteReadPosition",
    summary = "Mark a conversation as unread for you",
    description = "All of it, since you became a member. The shared `unread_count` stays.",
    params(("id" = Uuid, Path, description = "Id of the conversation.")),
    responses(
        (status = 204, description = "Done."),
        (status = 404, response = NotFound),
        CallerProblems,
        ServiceProblems,
    )
)]
async fn forget(db: Data<Db>, caller: Caller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(CONVERSATIONS.area, Action::Read)?;
    no_parameters(&request)?;
    let conversation = id(&CONVERSATIONS, &request)?;
    let Some(user) = caller.principal().user() else {
        return Err(Error::Forbidden("An API key reads nothing: only members have a position.".into()));
    };
    let own = tenant.clone();
    let forgotten = move |tx: &mut Tx<'_>| reading::forget(tx, &own, conversation, user);
    db.for_tenant(&tenant).write("unread", forgotten).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Returns whose position is set: the caller's own, or that of the member whom an API key names. Errors: 422.
fn reader(principal: Principal, named: Option<Uuid>) -> Result<Uuid> {
    let fault = |code, detail: &str| Err(Error::Invalid(vec![FieldError::new("/user_id", code, detail)]));
    match (principal.user(), named) {
        (Some(own), None) => Ok(own),
        (Some(own), Some(named)) if named == own => Ok(own),
        (Some(_), Some(_)) => fault("not_allowed", "You set your own position only: leave `user_id` out."),
        (None, Some(named)) => Ok(named),
        (None, None) => fault("required", "An API key is no member: `user_id` says whose position it sets."),
    }
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(note, forget))]
struct ReadPositionApi;

/// Adds the operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, ReadPositionApi::openapi());
}
