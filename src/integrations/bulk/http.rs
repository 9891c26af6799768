//! HTTP handler of bulk operations: `POST /{resource}/bulk-operations`.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value as Json, json};

use super::{BULK, BulkRequest, resources};
use crate::app::state::AppState;
use crate::auth::{Action, Tenant, TenantSettings};
use crate::background;
use crate::base::error::{Error, FieldError, Result};
use crate::db::{Statement, Tx};
use crate::http::caller::Caller;
use crate::http::idempotency::{self, ApiResponse};
use crate::http::routing;
use crate::monitoring::jobs as shown;
use crate::resource::http::no_parameters;
use crate::resource::{Resource, batch, body, select};

/// JSON nesting depth that the request body adds around the values of `set`.
const DEEPER: usize = 1;

/// Registers the route for every resource with bulk operations. Must run before the resources' own routes, whose path
/// patterns match it too.
pub fn routes(api: &mut ServiceConfig) {
    for resource in resources() {
        let route = routing::resource(&format!("/{}/bulk-operations", resource.path()));
        route
            .on(Method::POST, move |app, caller, request, body| ask(resource, app, caller, request, body))
            .register(api);
    }
}

async fn ask(
    resource: &'static Resource,
    app: Data<AppState>,
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
    let order =
        BulkRequest::read(resource, body::json(&body, app.config.http.body_depth + DEEPER)?, caller.business())?;
    let tenant = caller.require(resource.area, order.needs())?;
    let (own, business) = (tenant.clone(), caller.business().clone());
    let asked = move |tx: &mut Tx<'_>| accept(tx, &own, &business, &order);
    let reply = idempotency::write(&app.db, &tenant, &request, &body, "bulk_operation", asked).await?;
    app.wakers.jobs.notify_one();
    Ok(reply)
}

/// Counts the matching rows and enqueues the job. Returns `{"matched":n,"job":{…}}`. Errors: 422 when a reference
/// points nowhere; 429 when too many jobs are queued.
fn accept(tx: &mut Tx<'_>, tenant: &Tenant, business: &TenantSettings, order: &BulkRequest) -> Result<ApiResponse> {
    if let Some(change) = order.change(business)? {
        batch::check_references(tx, tenant, change).map_err(|error| within(order, error))?;
    }
    let counted = select::count(&order.list(business)?, tenant, 0).row(tx)?;
    let matched = counted.and_then(|row| row.int(0)).unwrap_or_default();
    if order.dry_run {
        return Ok(ApiResponse::new(
            StatusCode::OK,
            json!({ "matched": matched, "job": null }).to_string().into_bytes(),
        ));
    }
    let now =
        Statement::new("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')").row(tx)?;
    let mut input = order.kept();
    input["until"] = now.as_ref().and_then(|row| row.text(0)).into();
    input["matched"] = matched.into();
    let id = background::enqueue(tx, tenant, &BULK, input)?;
    let row = shown::shown(tx, tenant, id)?;
    let job: Json = serde_json::from_slice(&row.json).map_err(|error| Error::Internal(error.to_string()))?;
    let body = json!({ "matched": matched, "job": job }).to_string().into_bytes();
    Ok(ApiResponse::new(StatusCode::ACCEPTED, body).location(shown::path(id)))
}

/// Prefixes the error pointers with the place of the values in the request body.
fn within(order: &BulkRequest, error: Error) -> Error {
    match error {
        Error::Invalid(faults) => {
            let moved =
                |fault: FieldError| FieldError { pointer: format!("{}{}", order.place, fault.pointer), ..fault };
            Error::Invalid(faults.into_iter().map(moved).collect())
        }
        other => other,
    }
}
