//! Handlers of the writes of single rows. Each is: permission, one call, response.

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use uuid::Uuid;

use super::request::{API, id, may_change, no_parameters};
use crate::auth::{Action, Tenant};
use crate::base::error::{Error, Result};
use crate::db::Tx;
use crate::http::caller::Caller;
use crate::http::idempotency;
use crate::http::precondition::IfMatch;
use crate::resource::body::{self, Changeset};
use crate::resource::definition::Resource;
use crate::resource::module::{DuplicateCheck, ResourceModule};
use crate::resource::read_query::ReadQuery;
use crate::resource::read_service::ReadService;

pub(super) async fn create(
    module: &'static ResourceModule,
    reads: Data<ReadService>,
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let resource = module.resource;
    let tenant = caller.require(resource.area, Action::Write)?;
    let check = duplicate_check(module, &request)?;
    let change = Changeset::parse(resource, body::json(&body, reads.body_depth)?, true, caller.business())?;
    let own = tenant.clone();
    idempotency::write(&reads.db, &tenant, &request, &body, "create", move |tx| {
        check.map_or(Ok(()), |check| check(tx, &own, resource, &change))?;
        let (id, row) = (module.writes.create)(tx, &own, resource, change.clone())?;
        let response = row.created(format!("{API}/{}/{id}", resource.path()));
        Ok(if resource.secret.is_none() { response } else { response.secret() })
    })
    .await
}

pub(super) async fn update(
    module: &'static ResourceModule,
    reads: Data<ReadService>,
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let resource = module.resource;
    let tenant = may_change(&caller, resource, Action::Write)?;
    no_parameters(&request)?;
    let (id, expected) = (id(resource, &request)?, IfMatch::read(&request)?);
    let change = Changeset::parse(resource, body::json(&body, reads.body_depth)?, false, caller.business())?;
    let caller_tenant = tenant.clone();
    let row = reads
        .db
        .for_tenant(&tenant)
        .write("update", move |tx| (module.writes.update)(tx, &tenant, resource, id, change.clone(), expected))
        .await?;
    invalidate(&reads, resource, &caller_tenant, id);
    Ok(row.answer().reply())
}

pub(super) async fn delete(
    module: &'static ResourceModule,
    reads: Data<ReadService>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let resource = module.resource;
    let tenant = caller.require(resource.area, Action::Delete)?;
    no_parameters(&request)?;
    let (id, expected) = (id(resource, &request)?, IfMatch::read(&request)?);
    let caller_tenant = tenant.clone();
    reads
        .db
        .for_tenant(&tenant)
        .write("delete", move |tx| (module.writes.delete)(tx, &tenant, resource, id, expected))
        .await?;
    invalidate(&reads, resource, &caller_tenant, id);
    Ok(HttpResponse::NoContent().finish())
}

pub(super) async fn restore(
    module: &'static ResourceModule,
    reads: Data<ReadService>,
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let resource = module.resource;
    let tenant = may_change(&caller, resource, Action::Delete)?;
    no_parameters(&request)?;
    let (id, own) = (id(resource, &request)?, tenant.clone());
    let restore = move |tx: &mut Tx<'_>| Ok((module.writes.restore)(tx, &own, resource, id)?.answer());
    idempotency::write(&reads.db, &tenant, &request, &body, "restore", restore).await
}

/// Removes the cached response of a row after a write has committed. Its versions are outdated already; this frees
/// memory.
fn invalidate(reads: &ReadService, resource: &'static Resource, tenant: &Tenant, id: Uuid) {
    if let Some(cache) = &reads.cache {
        cache.invalidate(&ReadQuery::row_key(resource, tenant, id));
    }
}

/// Returns the check to run before a create, unless the request allows duplicates. Errors: 400.
fn duplicate_check(module: &ResourceModule, request: &HttpRequest) -> Result<Option<DuplicateCheck>> {
    match (module.duplicate_check, request.query_string()) {
        (Some(_), "allow_duplicate=true") => Ok(None),
        (Some(check), "" | "allow_duplicate=false") => Ok(Some(check)),
        (Some(_), _) => Err(Error::malformed(
            "unknown_parameter",
            "This operation takes one parameter: `allow_duplicate=true`. All else is in its body.",
        )),
        (None, _) => no_parameters(request).map(|()| None),
    }
}
