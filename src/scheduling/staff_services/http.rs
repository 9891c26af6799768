//! HTTP handlers of `POST /staff/{id}/services` and `DELETE /staff/{id}/services/{service}`.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::assignment;
use super::dto::StaffServiceRequest;
use super::resource::{STAFF_SERVICES, StaffServiceRow};
use crate::auth::Action;
use crate::base::error::Result;
use crate::db::{Db, Tx};
use crate::http::caller::Caller;
use crate::http::openapi_problems::{
    BodyProblems, CallerProblems, Conflict, NotFound, PreconditionFailed, ServiceProblems,
};
use crate::http::payload::BodyLimits;
use crate::http::precondition::IfMatch;
use crate::http::{idempotency, routing};
use crate::resource::crud;
use crate::resource::http::{id, may_change, no_parameters, path_uuid};
use crate::resource::openapi::{self, IfMatchHeader};
use crate::scheduling::staff::STAFF;

/// Registers the routes below `/staff`.
pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/services").on(Method::POST, add).register(scope);
    routing::resource("/{id}/services/{service}").on(Method::DELETE, remove).register(scope);
}

#[utoipa::path(
    post,
    path = "/api/v1/staff/{id}/services",
    tag = "staff",
    operation_id = "addServiceOfStaffMember",
    summary = "Add a service to what a member of staff performs",
    description = "Members of staff without any service perform all; with the first one added they perform that one only. 409 `already_exists` \
                   when they perform it already: `PATCH /staff-services/{id}` changes its duration and price.",
    params(("id" = Uuid, Path, description = "Id of the member of staff.")),
    request_body = StaffServiceRequest,
    responses(
        (status = 201, description = "Added.", body = StaffServiceRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn add(
    (db, limits): (Data<Db>, Data<BodyLimits>),
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = may_change(&caller, &STAFF_SERVICES, Action::Write)?;
    no_parameters(&request)?;
    let staff = id(&STAFF, &request)?;
    let change = assignment::read(&body, limits.max_depth, staff, caller.business())?;
    let own = tenant.clone();
    let add = move |tx: &mut Tx<'_>| assignment::add(tx, &own, staff, change.clone());
    idempotency::write(&db, &tenant, &request, &body, "add_staff_service", add).await
}

#[utoipa::path(
    delete,
    path = "/api/v1/staff/{id}/services/{service}",
    tag = "staff",
    operation_id = "removeServiceOfStaffMember",
    summary = "Remove a service from what a member of staff performs",
    description = "With the last one removed they perform all. Bookings stay.",
    params(
        ("id" = Uuid, Path, description = "Id of the member of staff."),
        ("service" = Uuid, Path, description = "Id of the service."),
        IfMatchHeader,
    ),
    responses(
        (status = 204, description = "Removed."),
        (status = 404, response = NotFound),
        (status = 412, response = PreconditionFailed),
        CallerProblems,
        ServiceProblems,
    )
)]
async fn remove(db: Data<Db>, caller: Caller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(STAFF_SERVICES.area, Action::Write)?;
    no_parameters(&request)?;
    let (staff, expected) = (id(&STAFF, &request)?, IfMatch::read(&request)?);
    let service = path_uuid(&request, "service").ok_or_else(|| crud::not_found(&STAFF_SERVICES))?;
    let own = tenant.clone();
    let remove = move |tx: &mut Tx<'_>| assignment::remove(tx, &own, staff, service, expected);
    db.for_tenant(&tenant).write("remove_staff_service", remove).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(add, remove))]
struct StaffServicesApi;

/// Adds the operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, StaffServicesApi::openapi());
}
