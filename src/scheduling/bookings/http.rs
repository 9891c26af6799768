//! HTTP handlers of what is done with a booking: `/bookings/{id}/cancellation`, `…/confirmation`, `…/reschedule`, `…/completion` and `…/no-show`.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use uuid::Uuid;

use super::dto::RescheduleRequest;
use super::resource::{BOOKINGS, BookingRow};
use super::state::{self, Move};
use crate::auth::{Action, Tenant};
use crate::base::error::Result;
use crate::db::{Db, Tx};
use crate::http::caller::Caller;
use crate::http::openapi_problems::{
    BodyProblems, CallerProblems, Conflict, NotFound, PreconditionFailed, ServiceProblems,
};
use crate::http::precondition::IfMatch;
use crate::http::{idempotency, routing};
use crate::resource::Row;
use crate::resource::body::{self, NoBody};
use crate::resource::http::{id, may_change, no_parameters};
use crate::resource::openapi::{self, IfMatchHeader};

/// Registers the routes below `/bookings`.
pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/cancellation").on(Method::POST, cancel).register(scope);
    routing::resource("/{id}/confirmation").on(Method::POST, confirm).register(scope);
    routing::resource("/{id}/reschedule").on(Method::POST, reschedule).register(scope);
    routing::resource("/{id}/completion").on(Method::POST, complete).register(scope);
    routing::resource("/{id}/no-show").on(Method::POST, miss).register(scope);
}

/// Changes the booking of the path by `change`, if the caller may and `If-Match` allows it. Returns it as it is now.
async fn changed<F>(
    db: &Db,
    caller: &Caller,
    request: &HttpRequest,
    body: &Bytes,
    name: &'static str,
    change: F,
) -> Result<HttpResponse>
where
    F: Fn(&mut Tx<'_>, &Tenant, Uuid, IfMatch) -> Result<Row> + Send + Sync + 'static,
{
    let tenant = may_change(caller, &BOOKINGS, Action::Write)?;
    no_parameters(request)?;
    let (id, expected) = (id(&BOOKINGS, request)?, IfMatch::read(request)?);
    let own = tenant.clone();
    let write = move |tx: &mut Tx<'_>| change(tx, &own, id, expected).map(|row| row.answer());
    idempotency::write(db, &tenant, request, body, name, write).await
}

#[utoipa::path(
    post,
    path = "/api/v1/bookings/{id}/cancellation",
    tag = "bookings",
    operation_id = "cancelBooking",
    summary = "Cancel a booking",
    description = "Its time is free at once. One that is cancelled already stays so; one that is over is 409 `booking_over`. Takes no body.",
    params(("id" = Uuid, Path, description = "Id of the booking."), IfMatchHeader),
    responses(
        (status = 200, description = "The booking as it is now.", body = BookingRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 412, response = PreconditionFailed),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn cancel(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    may_change(&caller, &BOOKINGS, Action::Write)?;
    body::read::<NoBody>(&body)?;
    changed(&db, &caller, &request, &body, "cancel_booking", state::cancel).await
}

#[utoipa::path(
    post,
    path = "/api/v1/bookings/{id}/confirmation",
    tag = "bookings",
    operation_id = "confirmBooking",
    summary = "Confirm a booking that is held or pending",
    description = "One that is confirmed already stays so; one that is over is 409 `booking_over`. Takes no body.",
    params(("id" = Uuid, Path, description = "Id of the booking."), IfMatchHeader),
    responses(
        (status = 200, description = "The booking as it is now.", body = BookingRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 412, response = PreconditionFailed),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn confirm(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    may_change(&caller, &BOOKINGS, Action::Write)?;
    body::read::<NoBody>(&body)?;
    changed(&db, &caller, &request, &body, "confirm_booking", state::confirm).await
}

#[utoipa::path(
    post,
    path = "/api/v1/bookings/{id}/reschedule",
    tag = "bookings",
    operation_id = "rescheduleBooking",
    summary = "Move a booking",
    description = "It keeps its code and lasts as long as before. Where the new time is taken, which is 409 `overlapping_booking`, it stays where it was.",
    params(("id" = Uuid, Path, description = "Id of the booking."), IfMatchHeader),
    request_body = RescheduleRequest,
    responses(
        (status = 200, description = "The booking as it is now.", body = BookingRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 412, response = PreconditionFailed),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn reschedule(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    may_change(&caller, &BOOKINGS, Action::Write)?;
    let asked = body::read::<RescheduleRequest>(&body)?;
    let to = Move { starts_at: asked.starts_at.0, staff_id: asked.staff_id.map(|staff| staff.0) };
    let reschedule =
        move |tx: &mut Tx<'_>, tenant: &Tenant, id, expected| state::reschedule(tx, tenant, id, expected, to);
    changed(&db, &caller, &request, &body, "reschedule_booking", reschedule).await
}

#[utoipa::path(
    post,
    path = "/api/v1/bookings/{id}/completion",
    tag = "bookings",
    operation_id = "completeBooking",
    summary = "Note that a booking has taken place",
    description = "Once it has begun: before, it is 409 `too_early`. One that was noted as missed is corrected. Takes no body.",
    params(("id" = Uuid, Path, description = "Id of the booking."), IfMatchHeader),
    responses(
        (status = 200, description = "The booking as it is now.", body = BookingRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 412, response = PreconditionFailed),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn complete(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    may_change(&caller, &BOOKINGS, Action::Write)?;
    body::read::<NoBody>(&body)?;
    let complete =
        |tx: &mut Tx<'_>, tenant: &Tenant, id, expected| state::end(tx, tenant, id, expected, state::COMPLETED);
    changed(&db, &caller, &request, &body, "complete_booking", complete).await
}

#[utoipa::path(
    post,
    path = "/api/v1/bookings/{id}/no-show",
    tag = "bookings",
    operation_id = "missBooking",
    summary = "Note that nobody came to a booking",
    description = "Once it has begun: before, it is 409 `too_early`. One that was noted as completed is corrected. Takes no body.",
    params(("id" = Uuid, Path, description = "Id of the booking."), IfMatchHeader),
    responses(
        (status = 200, description = "The booking as it is now.", body = BookingRow),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 412, response = PreconditionFailed),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn miss(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    may_change(&caller, &BOOKINGS, Action::Write)?;
    body::read::<NoBody>(&body)?;
    let miss = |tx: &mut Tx<'_>, tenant: &Tenant, id, expected| state::end(tx, tenant, id, expected, state::NO_SHOW);
    changed(&db, &caller, &request, &body, "miss_booking", miss).await
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(cancel, confirm, reschedule, complete, miss))]
struct BookingStateApi;

/// Adds the operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, BookingStateApi::openapi());
}
