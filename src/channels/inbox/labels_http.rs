//! HTTP handlers of `/conversations/{id}/labels/{label}`.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use uuid::Uuid;

use super::http::changed;
use super::labeling;
use crate::auth::{Action, Tenant};
use crate::base::error::Result;
use crate::channels::conversations::{CONVERSATIONS, ConversationRow};
use crate::channels::labels::LABELS;
use crate::db::{Db, Tx};
use crate::http::caller::Caller;
use crate::http::openapi_problems::{
    BodyProblems, CallerProblems, Conflict, NotFound, PreconditionFailed, ServiceProblems,
};
use crate::http::routing;
use crate::resource::body::{self, NoBody};
use crate::resource::crud;
use crate::resource::http::{may_change, path_uuid};
use crate::resource::openapi::{self, IfMatchHeader};

/// Registers the route below `/conversations`.
pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/labels/{label}").on(Method::PUT, put).on(Method::DELETE, take_off).register(scope);
}

#[utoipa::path(
    put,
    path = "/api/v1/conversations/{id}/labels/{label}",
    tag = "conversations",
    operation_id = "labelConversation",
    summary = "Put a label on a conversation",
    description = "At most 20; one that it has already stays. Takes no body.",
    params(
        ("id" = Uuid, Path, description = "Id of the conversation."),
        ("label" = Uuid, Path, description = "Id of the label."),
        IfMatchHeader,
    ),
    responses(
        (status = 200, description = "The conversation as it is now, with its `labels`.", body = ConversationRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 412, response = PreconditionFailed),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn put(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    may_change(&caller, &CONVERSATIONS, Action::Write)?;
    body::read::<NoBody>(&body)?;
    let label = label(&request)?;
    let put = move |tx: &mut Tx<'_>, tenant: &Tenant, id, expected| labeling::put(tx, tenant, id, label, expected);
    changed(&db, &caller, &request, "label", put).await
}

#[utoipa::path(
    delete,
    path = "/api/v1/conversations/{id}/labels/{label}",
    tag = "conversations",
    operation_id = "unlabelConversation",
    summary = "Take a label off a conversation",
    params(
        ("id" = Uuid, Path, description = "Id of the conversation."),
        ("label" = Uuid, Path, description = "Id of the label."),
        IfMatchHeader,
    ),
    responses(
        (status = 200, description = "The conversation as it is now, with its `labels`.", body = ConversationRow),
        (status = 404, response = NotFound),
        (status = 412, response = PreconditionFailed),
        CallerProblems,
        ServiceProblems,
    )
)]
async fn take_off(db: Data<Db>, caller: Caller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    may_change(&caller, &CONVERSATIONS, Action::Write)?;
    let label = label(&request)?;
    let take_off =
        move |tx: &mut Tx<'_>, tenant: &Tenant, id, expected| labeling::take_off(tx, tenant, id, label, expected);
    changed(&db, &caller, &request, "unlabel", take_off).await
}

/// Returns the label of the path. Errors: 404 when it is no UUID.
fn label(request: &HttpRequest) -> Result<Uuid> {
    path_uuid(request, "label").ok_or_else(|| crud::not_found(&LABELS))
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(put, take_off))]
struct ConversationLabelsApi;

/// Adds the operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, ConversationLabelsApi::openapi());
}
