//! HTTP handler of `POST /leads/{id}/processing`.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::dto::{LeadProcessing, LeadProcessingRequest};
use super::processing::Processing;
use crate::auth::Action;
use crate::base::error::Result;
use crate::crm::leads::LEADS;
use crate::db::Db;
use crate::http::caller::Caller;
use crate::http::openapi_problems::{
    BodyProblems, CallerProblems, Conflict, NotFound, PreconditionFailed, ServiceProblems,
};
use crate::http::payload::BodyLimits;
use crate::http::precondition::IfMatch;
use crate::http::{idempotency, routing};
use crate::resource::http::{id, may_change, no_parameters};
use crate::resource::openapi::{self, IfMatchHeader};

/// Registers the route below `/leads`.
pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/processing").on(Method::POST, process).register(scope);
}

#[utoipa::path(
    post,
    path = "/api/v1/leads/{id}/processing",
    tag = "leads",
    operation_id = "processLead",
    summary = "Record what came of looking at a lead",
    description = "In one transaction: the lead is changed, a conversation goes on or begins, and the decision is recorded; all \
                   of it or nothing. `Location` is that of the decision, the ETag is the lead's.",
    params(("id" = Uuid, Path, description = "Id of the lead."), IfMatchHeader),
    request_body = LeadProcessingRequest,
    responses(
        (status = 201, description = "Done.", body = LeadProcessing),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 412, response = PreconditionFailed),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn process(
    (db, limits): (Data<Db>, Data<BodyLimits>),
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = may_change(&caller, &LEADS, Action::Write)?;
    no_parameters(&request)?;
    let (id, expected) = (id(&LEADS, &request)?, IfMatch::read(&request)?);
    let asked = Processing::read(&body, limits.max_depth, caller.business())?;
    let own = tenant.clone();
    idempotency::write(&db, &tenant, &request, &body, "processing", move |tx| asked.run(tx, &own, id, expected)).await
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(process))]
struct ProcessingApi;

/// Adds the operation to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, ProcessingApi::openapi());
}
