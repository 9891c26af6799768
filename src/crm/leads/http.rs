//! HTTP handler of `POST /leads/{id}/conversion`.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::LEADS;
use super::conversion::Conversion;
use super::dto::{LeadConversion, LeadConversionRequest};
use crate::auth::Action;
use crate::base::error::Result;
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
    routing::resource("/{id}/conversion").on(Method::POST, convert).register(scope);
}

#[utoipa::path(
    post,
    path = "/api/v1/leads/{id}/conversion",
    tag = "leads",
    operation_id = "convertLead",
    summary = "Win a lead",
    description = "In one transaction: its company and its contact are made, or found by domain and e-mail address, and belong \
                   together and to the lead, which is won. A contact who works for another company keeps it, unless the body \
                   names a `company`. 409 `already_converted` when it is won already.",
    params(("id" = Uuid, Path, description = "Id of the lead."), IfMatchHeader),
    request_body = LeadConversionRequest,
    responses(
        (status = 201, description = "Done.", body = LeadConversion),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 412, response = PreconditionFailed),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn convert(
    (db, limits): (Data<Db>, Data<BodyLimits>),
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = may_change(&caller, &LEADS, Action::Write)?;
    no_parameters(&request)?;
    let (id, expected) = (id(&LEADS, &request)?, IfMatch::read(&request)?);
    let asked = Conversion::read(&body, limits.max_depth, caller.business())?;
    let own = tenant.clone();
    idempotency::write(&db, &tenant, &request, &body, "conversion", move |tx| asked.run(tx, &own, id, expected)).await
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(convert))]
struct ConversionApi;

/// Adds the operation to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, ConversionApi::openapi());
}
