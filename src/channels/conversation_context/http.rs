//! HTTP handler of `GET /conversations/{id}/context`.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DurationRound, TimeDelta, Utc};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::context::Context;
use super::dto::ConversationContext;
use crate::auth::Identity;
use crate::base::error::Result;
use crate::channels::conversations::CONVERSATIONS;
use crate::http::caller::UnverifiedCaller;
use crate::http::openapi_problems::{BadRequest, CallerProblems, NotFound, ServiceProblems};
use crate::http::routing;
use crate::resource::cached_read::cached_read;
use crate::resource::http::{id, no_parameters};
use crate::resource::read_query::{ReadQuery, ReadTarget};
use crate::resource::{ReadService, openapi};

/// Registers the route below `/conversations`.
pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/context").reads(Method::GET, read).register(scope);
}

#[utoipa::path(
    get,
    path = "/api/v1/conversations/{id}/context",
    tag = "conversations",
    operation_id = "getConversationContext",
    summary = "Read a conversation with all that belongs to it",
    description = "The conversation with its contact and lead, the company, the last messages, open leads, the next booking, and open tasks: what who \
                   answers looks at, in one request of three statements. Rows that the caller does not see are left out.",
    params(("id" = Uuid, Path, description = "Id of the conversation.")),
    responses(
        (status = 200, description = "The context.", body = ConversationContext),
        (status = 400, response = BadRequest),
        (status = 404, response = NotFound),
        CallerProblems,
        ServiceProblems,
    )
)]
async fn read(
    reads: Data<ReadService>,
    caller: UnverifiedCaller,
    request: HttpRequest,
    _: Bytes,
) -> Result<HttpResponse> {
    let ask = |identity: &Identity| {
        no_parameters(&request)?;
        let now = Utc::now();
        let context = Context {
            conversation: id(&CONVERSATIONS, &request)?,
            business: identity.settings.clone(),
            since: now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now),
        };
        let target = ReadTarget::Computed(Arc::new(context));
        Ok(Arc::new(ReadQuery::new(&CONVERSATIONS, target, &identity.settings, None)))
    };
    cached_read(reads, caller, &request, &CONVERSATIONS, ask).await
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(read))]
struct ContextApi;

/// Adds the operation to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, ContextApi::openapi());
}
