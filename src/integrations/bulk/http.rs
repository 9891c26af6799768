//! HTTP handler of bulk operations: `POST /{resource}/bulk-operations`.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};

use super::dto::BulkOperationResult;
use super::request::{BulkRequest, with_bulk};
use super::step::BULK;
use crate::auth::{Action, Tenant, TenantSettings};
use crate::background::{self, JobWaker};
use crate::base::error::{Error, FieldError, Result};
use crate::base::timestamp;
use crate::db::{Db, Statement, Tx};
use crate::http::caller::Caller;
use crate::http::idempotency::{self, ApiResponse};
use crate::http::payload::BodyLimits;
use crate::http::routing;
use crate::integrations::jobs;
use crate::resource::http::no_parameters;
use crate::resource::{Resource, batch, body, select};

/// JSON nesting depth that the request body adds around the values of `set`.
const DEEPER: usize = 1;

/// What the handler uses.
type State = (Data<Db>, Data<JobWaker>, Data<BodyLimits>);

/// Registers the route for those of `resources` that have bulk operations. Must run before the resources' own routes,
/// whose path patterns match it too.
pub fn routes(resources: &'static [&'static Resource], api: &mut ServiceConfig) {
    for resource in with_bulk(resources) {
        let route = routing::resource(&format!("/{}/bulk-operations", resource.path()));
        route
            .on(Method::POST, move |state, caller, request, body| {
                bulk_operation(resource, state, caller, request, body)
            })
            .register(api);
    }
}

async fn bulk_operation(
    resource: &'static Resource,
    (db, waker, limits): State,
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    // The response shows how many rows a filter matches, so the caller must be allowed to read.
    caller.require(resource.area, Action::Read)?;
    caller
        .require(resource.area, Action::Write)
        .or_else(|error| caller.require(resource.area, Action::Delete).map_err(|_| error))?;
    no_parameters(&request)?;
    let bulk = BulkRequest::read(resource, body::json(&body, limits.max_depth + DEEPER)?, caller.business())?;
    let tenant = caller.require(resource.area, bulk.needs())?;
    let (own, business) = (tenant.clone(), caller.business().clone());
    let asked = move |tx: &mut Tx<'_>| accept(tx, &own, &business, &bulk);
    let reply = idempotency::write(&db, &tenant, &request, &body, "bulk_operation", asked).await?;
    waker.wake();
    Ok(reply)
}

/// Counts the matching rows and enqueues the job. Errors: 422 when a reference
/// points nowhere; 429 when too many jobs are queued.
fn accept(tx: &mut Tx<'_>, tenant: &Tenant, business: &TenantSettings, bulk: &BulkRequest) -> Result<ApiResponse> {
    if let Some(change) = bulk.change(business)? {
        batch::check_references(tx, tenant, bulk.resource, change).map_err(|error| within(bulk, error))?;
    }
    let matched: i64 = select::count(&bulk.list(business)?, tenant, 0).scalar(tx)?.unwrap_or_default();
    if bulk.dry_run {
        return ApiResponse::of(StatusCode::OK, &BulkOperationResult { matched, job: None });
    }
    let now: Option<DateTime<Utc>> = Statement::new("SELECT now()").scalar(tx)?;
    let mut input = bulk.kept();
    input["until"] = now.map(timestamp::text).into();
    input["matched"] = matched.into();
    let id = background::enqueue(tx, tenant, &BULK, input)?;
    let job = Some(jobs::shown(tx, tenant, id)?.try_into()?);
    let reply = ApiResponse::of(StatusCode::ACCEPTED, &BulkOperationResult { matched, job })?;
    Ok(reply.location(jobs::path(id)))
}

/// Prefixes the error pointers with the place of the values in the request body.
fn within(bulk: &BulkRequest, error: Error) -> Error {
    match error {
        Error::Invalid(faults) => {
            let moved = |fault: FieldError| FieldError { pointer: format!("{}{}", bulk.place, fault.pointer), ..fault };
            Error::Invalid(faults.into_iter().map(moved).collect())
        }
        other => other,
    }
}
