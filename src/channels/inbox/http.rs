//! HTTP handlers of what is done with a conversation: `/conversations/{id}/assignment`, `…/snooze` and `…/closure`.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{TimeDelta, Utc};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use uuid::Uuid;

use super::dto::{AssignmentRequest, SnoozeRequest};
use super::state;
use crate::auth::{Action, Tenant};
use crate::base::error::{Error, FieldError, Result};
use crate::channels::conversations::{CONVERSATIONS, ConversationRow};
use crate::db::{Db, Tx};
use crate::http::caller::Caller;
use crate::http::openapi_problems::{
    BodyProblems, CallerProblems, Conflict, NotFound, PreconditionFailed, ServiceProblems,
};
use crate::http::precondition::IfMatch;
use crate::http::routing;
use crate::resource::body::NoBody;
use crate::resource::http::{id, may_change, no_parameters};
use crate::resource::openapi::{self, IfMatchHeader};
use crate::resource::{Row, body};

/// How long a conversation can be snoozed: what is further away is an appointment or a task.
const MAX_SNOOZE: TimeDelta = TimeDelta::days(366);

/// Registers the routes below `/conversations`.
pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/assignment").on(Method::PUT, assign).on(Method::DELETE, unassign).register(scope);
    routing::resource("/{id}/snooze").on(Method::PUT, snooze).on(Method::DELETE, wake).register(scope);
    routing::resource("/{id}/closure").on(Method::PUT, close).on(Method::DELETE, reopen).register(scope);
}

/// Changes the conversation of the path by `change`, if the caller may and `If-Match` allows it. Returns it as it is now.
pub(super) async fn changed<F>(
    db: &Db,
    caller: &Caller,
    request: &HttpRequest,
    name: &'static str,
    change: F,
) -> Result<HttpResponse>
where
    F: Fn(&mut Tx<'_>, &Tenant, Uuid, IfMatch) -> Result<Row> + Send + Sync + 'static,
{
    let tenant = may_change(caller, &CONVERSATIONS, Action::Write)?;
    no_parameters(request)?;
    let (id, expected) = (id(&CONVERSATIONS, request)?, IfMatch::read(request)?);
    let own = tenant.clone();
    let row = db.for_tenant(&tenant).write(name, move |tx| change(tx, &own, id, expected)).await?;
    Ok(row.answer().reply())
}

#[utoipa::path(
    put,
    path = "/api/v1/conversations/{id}/assignment",
    tag = "conversations",
    operation_id = "assignConversation",
    summary = "Assign a conversation to a member",
    params(("id" = Uuid, Path, description = "Id of the conversation."), IfMatchHeader),
    request_body = AssignmentRequest,
    responses(
        (status = 200, description = "The conversation as it is now.", body = ConversationRow),
        (status = 404, response = NotFound),
        (status = 412, response = PreconditionFailed),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn assign(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    may_change(&caller, &CONVERSATIONS, Action::Write)?;
    let assignee = body::read::<AssignmentRequest>(&body)?.assignee_id.0;
    let assign =
        move |tx: &mut Tx<'_>, tenant: &Tenant, id, expected| state::assign(tx, tenant, id, expected, Some(assignee));
    changed(&db, &caller, &request, "assign", assign).await
}

#[utoipa::path(
    delete,
    path = "/api/v1/conversations/{id}/assignment",
    tag = "conversations",
    operation_id = "unassignConversation",
    summary = "Take a conversation from its assignee",
    params(("id" = Uuid, Path, description = "Id of the conversation."), IfMatchHeader),
    responses(
        (status = 200, description = "The conversation as it is now.", body = ConversationRow),
        (status = 404, response = NotFound),
        (status = 412, response = PreconditionFailed),
        CallerProblems,
        ServiceProblems,
    )
)]
async fn unassign(db: Data<Db>, caller: Caller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let unassign = |tx: &mut Tx<'_>, tenant: &Tenant, id, expected| state::assign(tx, tenant, id, expected, None);
    changed(&db, &caller, &request, "unassign", unassign).await
}

#[utoipa::path(
    put,
    path = "/api/v1/conversations/{id}/snooze",
    tag = "conversations",
    operation_id = "snoozeConversation",
    summary = "Take a conversation out of sight until a time",
    description = "Its `snoozed_until` is set, and emptied when the time has come, when the other side writes, or when it is closed. Its \
                   status stays.",
    params(("id" = Uuid, Path, description = "Id of the conversation."), IfMatchHeader),
    request_body = SnoozeRequest,
    responses(
        (status = 200, description = "The conversation as it is now.", body = ConversationRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 412, response = PreconditionFailed),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn snooze(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    may_change(&caller, &CONVERSATIONS, Action::Write)?;
    let (until, now) = (body::read::<SnoozeRequest>(&body)?.until.0, Utc::now());
    if until <= now || until > now + MAX_SNOOZE {
        let detail = format!("`until` is in the future, and at most {} days from now.", MAX_SNOOZE.num_days());
        return Err(Error::Invalid(vec![FieldError::new("/until", "out_of_range", detail)]));
    }
    let snooze = move |tx: &mut Tx<'_>, tenant: &Tenant, id, expected| state::snooze(tx, tenant, id, expected, until);
    changed(&db, &caller, &request, "snooze", snooze).await
}

#[utoipa::path(
    delete,
    path = "/api/v1/conversations/{id}/snooze",
    tag = "conversations",
    operation_id = "wakeConversation",
    summary = "Bring a snoozed conversation back",
    params(("id" = Uuid, Path, description = "Id of the conversation."), IfMatchHeader),
    responses(
        (status = 200, description = "The conversation as it is now.", body = ConversationRow),
        (status = 404, response = NotFound),
        (status = 412, response = PreconditionFailed),
        CallerProblems,
        ServiceProblems,
    )
)]
async fn wake(db: Data<Db>, caller: Caller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    changed(&db, &caller, &request, "wake", state::wake).await
}

#[utoipa::path(
    put,
    path = "/api/v1/conversations/{id}/closure",
    tag = "conversations",
    operation_id = "closeConversation",
    summary = "Close a conversation",
    description = "What the other side writes next begins another one. Takes no body.",
    params(("id" = Uuid, Path, description = "Id of the conversation."), IfMatchHeader),
    responses(
        (status = 200, description = "The conversation as it is now.", body = ConversationRow),
        (status = 404, response = NotFound),
        (status = 412, response = PreconditionFailed),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn close(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    may_change(&caller, &CONVERSATIONS, Action::Write)?;
    body::read::<NoBody>(&body)?;
    changed(&db, &caller, &request, "close", state::close).await
}

#[utoipa::path(
    delete,
    path = "/api/v1/conversations/{id}/closure",
    tag = "conversations",
    operation_id = "reopenConversation",
    summary = "Reopen a conversation",
    description = "It is `active` again. While another conversation with the same peer is open, this is refused with 409, whose `candidates` \
                   name that one.",
    params(("id" = Uuid, Path, description = "Id of the conversation."), IfMatchHeader),
    responses(
        (status = 200, description = "The conversation as it is now.", body = ConversationRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 412, response = PreconditionFailed),
        CallerProblems,
        ServiceProblems,
    )
)]
async fn reopen(db: Data<Db>, caller: Caller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    changed(&db, &caller, &request, "reopen", state::reopen).await
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(assign, unassign, snooze, wake, close, reopen))]
struct InboxApi;

/// Adds the operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, InboxApi::openapi());
}
