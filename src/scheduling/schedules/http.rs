//! HTTP handlers of `GET /staff/{id}/schedule` and `PUT /staff/{id}/schedule`.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use diesel::pg::PgConnection;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use uuid::Uuid;

use super::dto::{ScheduleRequest, StaffSchedule};
use super::store;
use super::weekly_hours::WeeklyHours;
use crate::auth::{Action, Identity, Tenant};
use crate::base::error::Result;
use crate::cache::ComputedResponse;
use crate::db::{Db, Tx};
use crate::http::caller::{Caller, UnverifiedCaller};
use crate::http::openapi_problems::{
    BadRequest, BodyProblems, CallerProblems, NotFound, PreconditionFailed, ServiceProblems,
};
use crate::http::precondition::IfMatch;
use crate::http::routing;
use crate::resource::ReadService;
use crate::resource::body::{self, ValidationErrors};
use crate::resource::cached_read::cached_read;
use crate::resource::computed_read::ComputedRead;
use crate::resource::http::{id, may_change, no_parameters};
use crate::resource::openapi::{self, IfMatchHeader};
use crate::resource::read_query::{ReadQuery, ReadTarget};
use crate::scheduling::staff::STAFF;

/// Nesting of a body: the object, its list, an entry, its breaks, a break.
const DEPTH: usize = 6;

/// Registers the route below `/staff`.
pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/schedule").reads(Method::GET, read).on(Method::PUT, put).register(scope);
}

/// The hours of one member of staff.
#[derive(Debug)]
struct ScheduleRead(Uuid);

impl ComputedRead for ScheduleRead {
    fn canonical(&self) -> String {
        format!("schedule {}", self.0)
    }

    fn tables(&self) -> Vec<&'static str> {
        Vec::new()
    }

    fn shown_tables(&self) -> Vec<&'static str> {
        vec![STAFF.table]
    }

    fn rows(&self) -> Vec<(&'static str, Uuid)> {
        vec![(STAFF.table, self.0), ("schedule_hours", self.0)]
    }

    fn compute(&self, conn: &mut PgConnection, tenant: &Tenant) -> Result<ComputedResponse> {
        let row = store::read(conn, tenant, self.0)?;
        Ok(ComputedResponse { etag: row.etag(), body: row.json, tags: Vec::new() })
    }
}

#[utoipa::path(
    get,
    path = "/api/v1/staff/{id}/schedule",
    tag = "staff",
    operation_id = "getScheduleOfStaffMember",
    summary = "Read the weekly hours of a member of staff",
    description = "In order of the week, in the member's own time zone. The ETag can be sent as `If-Match` with the next change.",
    params(("id" = Uuid, Path, description = "Id of the member of staff.")),
    responses(
        (status = 200, description = "The hours.", body = StaffSchedule),
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
        let target = ReadTarget::Computed(Arc::new(ScheduleRead(id(&STAFF, &request)?)));
        Ok(Arc::new(ReadQuery::new(&STAFF, target, &identity.settings, None)))
    };
    cached_read(reads, caller, &request, &STAFF, ask).await
}

#[utoipa::path(
    put,
    path = "/api/v1/staff/{id}/schedule",
    tag = "staff",
    operation_id = "replaceScheduleOfStaffMember",
    summary = "Replace the weekly hours of a member of staff",
    description = "All of them: what the body lacks is gone, and an empty list leaves no hours. Bookings stay. `schedule_set_at` of the member is \
                   when that last changed, so it is in the history and the events of the member; `If-Match` takes the member's ETag, too.",
    params(("id" = Uuid, Path, description = "Id of the member of staff."), IfMatchHeader),
    request_body = ScheduleRequest,
    responses(
        (status = 200, description = "The hours after the change.", body = StaffSchedule),
        (status = 404, response = NotFound),
        (status = 412, response = PreconditionFailed),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn put(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = may_change(&caller, &STAFF, Action::Write)?;
    no_parameters(&request)?;
    let (staff, expected) = (id(&STAFF, &request)?, IfMatch::read(&request)?);
    let mut errors = ValidationErrors::default();
    let hours = WeeklyHours::read(body::members(&body, DEPTH)?, &mut errors);
    errors.into_result()?;
    let own = tenant.clone();
    let replace = move |tx: &mut Tx<'_>| store::replace(tx, &own, staff, expected, &hours);
    let row = db.for_tenant(&tenant).write("replace_schedule", replace).await?;
    Ok(row.answer().reply())
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(read, put))]
struct SchedulesApi;

/// Adds the operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, SchedulesApi::openapi());
}
