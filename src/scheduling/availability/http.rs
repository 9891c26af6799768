//! HTTP handler of `GET /availability`.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DurationRound, TimeDelta, Utc};
use utoipa::openapi::OpenApi;
use utoipa::{IntoParams, OpenApi as _};
use uuid::Uuid;

use super::parameters::Parameters;
use super::read::{Availability, AvailabilityRead};
use crate::auth::Identity;
use crate::base::error::Result;
use crate::http::caller::UnverifiedCaller;
use crate::http::openapi_problems::{BadRequest, CallerProblems, NotFound, ServiceProblems};
use crate::http::routing;
use crate::resource::cached_read::cached_read;
use crate::resource::read_query::{ReadQuery, ReadTarget};
use crate::resource::{ReadService, openapi};
use crate::scheduling::services::SERVICES;

pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/availability").reads(Method::GET, read).register(scope);
}

/// The parameters, as the document has them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the document; they are parsed so that all faults are named at once")]
struct AvailabilityParameters {
    /// The service that is to be booked.
    service_id: Uuid,
    /// A member of staff, or `any`, as when left out.
    staff_id: Option<String>,
    /// The first day, or the first instant.
    #[param(example = "2027-01-15")]
    from: String,
    /// The last day, or the instant before which slots begin. At most 62 days.
    #[param(example = "2027-01-21")]
    to: String,
    /// Of which the days are, a name of the IANA database; that of the business, when left out.
    #[param(example = "Europe/Berlin")]
    time_zone: Option<String>,
}

#[utoipa::path(
    get,
    path = "/api/v1/availability",
    tag = "bookings",
    operation_id = "listAvailability",
    summary = "List what can be booked",
    description = "The starts at which a service can be booked, each once, with who performs it: within the hours of staff, apart from what is booked, by \
                   the rules of the service. Staff without hours are not offered.",
    params(AvailabilityParameters),
    responses(
        (status = 200, description = "The slots.", body = Availability),
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
        let now = Utc::now();
        let read = AvailabilityRead {
            parameters: Parameters::parse(request.query_string(), &identity.settings)?,
            // The end of the minute: what is offered within it is not too soon at its end.
            now: now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now) + TimeDelta::minutes(1),
        };
        Ok(Arc::new(ReadQuery::new(&SERVICES, ReadTarget::Computed(Arc::new(read)), &identity.settings, None)))
    };
    cached_read(reads, caller, &request, &SERVICES, ask).await
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(read))]
struct AvailabilityApi;

/// Adds the operation to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, AvailabilityApi::openapi());
}
