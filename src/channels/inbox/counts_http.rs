//! HTTP handler of `GET /conversations/counts`.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::counts::Counts;
use super::dto::ConversationCounts;
use crate::auth::Identity;
use crate::base::error::Result;
use crate::channels::conversations::CONVERSATIONS;
use crate::http::caller::UnverifiedCaller;
use crate::http::openapi_problems::{BadRequest, CallerProblems, ServiceProblems};
use crate::http::routing;
use crate::resource::cached_read::cached_read;
use crate::resource::http::no_parameters;
use crate::resource::read_query::{ReadQuery, ReadTarget};
use crate::resource::{ReadService, openapi};

/// Registers the route, before the pattern of a row, which it matches, too.
pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/counts").reads(Method::GET, counts).register(scope);
}

#[utoipa::path(
    get,
    path = "/api/v1/conversations/counts",
    tag = "conversations",
    operation_id = "countConversations",
    summary = "How many conversations each tab of an inbox has",
    description = "Exact at this moment, of the conversations that you see. Each number is that of the list with the filter in its description.",
    responses(
        (status = 200, description = "The numbers.", body = ConversationCounts),
        (status = 400, response = BadRequest),
        CallerProblems,
        ServiceProblems,
    )
)]
async fn counts(
    reads: Data<ReadService>,
    caller: UnverifiedCaller,
    request: HttpRequest,
    _: Bytes,
) -> Result<HttpResponse> {
    let ask = |identity: &Identity| {
        no_parameters(&request)?;
        let target = ReadTarget::Computed(Arc::new(Counts { user: identity.principal.user() }));
        Ok(Arc::new(ReadQuery::new(&CONVERSATIONS, target, &identity.settings, None)))
    };
    cached_read(reads, caller, &request, &CONVERSATIONS, ask).await
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(counts))]
struct CountsApi;

/// Adds the operation to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, CountsApi::openapi());
}
