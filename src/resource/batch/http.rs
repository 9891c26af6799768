//! HTTP handlers of batch writes.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::action::BatchAction;
use super::items::Batch;
use super::response::response;
use crate::auth::{Action, Tenant};
use crate::base::error::Result;
use crate::base::request_context;
use crate::db::Tx;
use crate::http::caller::Caller;
use crate::http::idempotency::ApiResponse;
use crate::http::{idempotency, routing};
use crate::resource::body;
use crate::resource::definition::Resource;
use crate::resource::http::no_parameters;
use crate::resource::read_service::ReadService;

/// Levels of nesting that a batch adds to those of its items.
const DEEPER: usize = 2;

/// Registers the resource's batch routes below its path.
pub fn routes(resource: &'static Resource, scope: &mut ServiceConfig) {
    for act in BatchAction::ALL {
        let route = routing::resource(&format!("/batch/{}", act.name())).large();
        route
            .on(Method::POST, move |reads, caller, request, body| write(resource, act, reads, caller, request, body))
            .register(scope);
    }
}

async fn write(
    resource: &'static Resource,
    act: BatchAction,
    reads: Data<ReadService>,
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = may(&caller, resource, act)?;
    no_parameters(&request)?;
    let batch = Batch::read(resource, act, body::json(&body, reads.body_depth + DEEPER)?, caller.business())?;
    let (own, id) = (tenant.clone(), request_context::request_id());
    let answer = move |tx: &mut Tx<'_>| Ok(ApiResponse::new(StatusCode::OK, response(tx, &own, &batch, &id)?));
    idempotency::write(&reads.db, &tenant, &request, &body, act.work(), answer).await
}

/// Errors: 403. A batch that returns rows also needs the permission to read them.
fn may(caller: &Caller, resource: &Resource, act: BatchAction) -> Result<Tenant> {
    if act == BatchAction::Delete {
        return caller.require(resource.area, Action::Delete);
    }
    caller.require(resource.area, Action::Read)?;
    caller.require(resource.area, Action::Write)
}
