//! HTTP handlers of the operations that every resource has. Each is: permission, one call, response.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value as Json;
use uuid::Uuid;

use super::cached_read::cached_read;
use super::list_query::{List, Projection};
use super::read_query::{ReadQuery, ReadTarget};
use super::{Changeset, DuplicateCheck, ReadService, Resource, audit_log, body, crud, export};
use crate::auth::{Action, Tenant, TenantSettings};
use crate::base::error::{Error, FieldError, Result};
use crate::db::Tx;
use crate::http::caller::{Caller, UnverifiedCaller};
use crate::http::precondition::IfMatch;
use crate::http::{idempotency, routing};

/// Base path of the API.
pub const API: &str = "/api/v1";

/// Registers the operations of a resource under its path, in a scope of its own, whose prefix is compared before any
/// pattern is tried; the most frequent routes come first.
pub fn routes(resource: &'static Resource, api: &mut web::ServiceConfig) {
    let operations = resource.operations;
    let one = routing::resource("/{id}")
        .reads(Method::GET, move |engine, claim, request, _| read(resource, engine, claim, request))
        .on_if(operations.update, Method::PATCH, move |engine, caller, request, body| {
            update(resource, engine, caller, request, body)
        })
        .on_if(operations.delete, Method::DELETE, move |engine, caller, request, _| {
            delete(resource, engine, caller, request)
        });
    let many = routing::resource("")
        .reads(Method::GET, move |engine, claim, request, _| list(resource, engine, claim, request));
    let many = match resource.custom_create {
        Some(own) => own(many),
        None => many.on_if(operations.create, Method::POST, move |engine, caller, request, body| {
            create(resource, engine, caller, request, body)
        }),
    };
    let export = routing::resource("/export")
        .reads(Method::GET, move |engine, claim, request, _| export::export(resource, engine, claim, request));
    let batch = routing::resource("/batch/read")
        .reads(Method::POST, move |engine, claim, request, body| batch_read(resource, engine, claim, request, body));
    let history = routing::resource("/{id}/history")
        .reads(Method::GET, move |engine, claim, request, _| history(resource, engine, claim, request));
    let restoration = routing::resource("/{id}/restoration").on_if(
        operations.restore,
        Method::POST,
        move |engine, caller, request, body| restore(resource, engine, caller, request, body),
    );
    api.service(web::scope(&format!("/{}", resource.path())).configure(|scope| {
        (resource.static_routes)(scope);
        // Before the pattern `/{id}`, which it matches, too.
        export.register(scope);
        one.register(scope);
        many.register(scope);
        batch.register(scope);
        if operations.batch {
            super::batch::routes(resource, scope);
        }
        if resource.has_history() {
            history.register(scope);
        }
        if operations.restore {
            restoration.register(scope);
        }
        (resource.routes)(scope);
    }));
}

async fn list(
    resource: &'static Resource,
    engine: Data<ReadService>,
    claim: UnverifiedCaller,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let asked = format!("list ?{}", request.query_string());
    let ask = |business: &TenantSettings| {
        engine.parse_cached(resource, business, &asked, || typed(resource, &asked, business))
    };
    cached_read(engine.clone(), claim, &request, resource, ask).await
}

async fn read(
    resource: &'static Resource,
    engine: Data<ReadService>,
    claim: UnverifiedCaller,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let asked = format!("one {}?{}", request.match_info().query("id"), request.query_string());
    let ask = |business: &TenantSettings| {
        engine.parse_cached(resource, business, &asked, || typed(resource, &asked, business))
    };
    cached_read(engine.clone(), claim, &request, resource, ask).await
}

async fn history(
    resource: &'static Resource,
    engine: Data<ReadService>,
    claim: UnverifiedCaller,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let (id, query) = (request.match_info().query("id"), request.query_string());
    cached_read(engine.clone(), claim, &request, resource, |business: &TenantSettings| {
        audit_log::row_history_query(resource, id, query, business)
    })
    .await
}

/// Parses `list ?query` or `one id?query` to what it reads.
pub(super) fn typed(resource: &'static Resource, typed: &str, business: &TenantSettings) -> Result<ReadTarget> {
    if let Some(query) = typed.strip_prefix("list ?") {
        return Ok(ReadTarget::List(List::parse(resource, query, business)?));
    }
    let one = typed.strip_prefix("one ").and_then(|one| one.split_once('?'));
    let (id, query) = one.ok_or_else(|| crud::not_found(resource))?;
    let id = Uuid::try_parse(id).map_err(|_| crud::not_found(resource))?;
    Ok(ReadTarget::One(id, Projection::parse(resource, query, business)?))
}

async fn batch_read(
    resource: &'static Resource,
    engine: Data<ReadService>,
    claim: UnverifiedCaller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let ask = |business: &TenantSettings| {
        no_parameters(&request)?;
        let (ids, view) = batch_request(resource, business, body::json(&body, engine.body_depth)?)?;
        Ok(Arc::new(ReadQuery::new(resource, ReadTarget::Batch(ids, view), business, "")))
    };
    cached_read(engine.clone(), claim, &request, resource, ask).await
}

async fn create(
    resource: &'static Resource,
    engine: Data<ReadService>,
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = caller.require(resource.area, Action::Write)?;
    let guard = guard(resource, &request)?;
    let change = Changeset::parse(resource, body::json(&body, engine.body_depth)?, true, caller.business())?;
    let own = tenant.clone();
    idempotency::write(&engine.db, &tenant, &request, &body, "create", move |tx| {
        guard.map_or(Ok(()), |guard| guard(tx, &own, &change))?;
        let (id, row) = (resource.writes.create)(tx, &own, change.clone())?;
        let answer = row.created(format!("{API}/{}/{id}", resource.path()));
        Ok(if resource.secret.is_none() { answer } else { answer.secret() })
    })
    .await
}

async fn update(
    resource: &'static Resource,
    engine: Data<ReadService>,
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = may_change(&caller, resource, Action::Write)?;
    no_parameters(&request)?;
    let (id, expected) = (id(resource, &request)?, IfMatch::read(&request)?);
    let change = Changeset::parse(resource, body::json(&body, engine.body_depth)?, false, caller.business())?;
    let forgetful = tenant.clone();
    let row = engine
        .db
        .for_tenant(&tenant)
        .write("update", move |tx| (resource.writes.update)(tx, &tenant, id, change.clone(), expected))
        .await?;
    superseded(&engine, resource, &forgetful, id);
    Ok(row.answer().reply())
}

async fn delete(
    resource: &'static Resource,
    engine: Data<ReadService>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let tenant = caller.require(resource.area, Action::Delete)?;
    no_parameters(&request)?;
    let (id, expected) = (id(resource, &request)?, IfMatch::read(&request)?);
    let forgetful = tenant.clone();
    engine
        .db
        .for_tenant(&tenant)
        .write("delete", move |tx| (resource.writes.delete)(tx, &tenant, resource, id, expected))
        .await?;
    superseded(&engine, resource, &forgetful, id);
    Ok(HttpResponse::NoContent().finish())
}

async fn restore(
    resource: &'static Resource,
    engine: Data<ReadService>,
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = may_change(&caller, resource, Action::Delete)?;
    no_parameters(&request)?;
    let (id, own) = (id(resource, &request)?, tenant.clone());
    let restore = move |tx: &mut Tx<'_>| Ok((resource.writes.restore)(tx, &own, resource, id)?.answer());
    idempotency::write(&engine.db, &tenant, &request, &body, "restore", restore).await
}

/// As `Caller::require`, for operations that return the row, which also needs the permission to read it. Errors: 403.
pub fn may_change(caller: &Caller, resource: &Resource, action: Action) -> Result<Tenant> {
    caller.require(resource.area, Action::Read)?;
    caller.require(resource.area, action)
}

/// Removes the cached response of a row after a write has committed. Its versions are outdated already; this frees
/// memory.
fn superseded(engine: &ReadService, resource: &'static Resource, tenant: &Tenant, id: Uuid) {
    if let Some(cache) = &engine.cache {
        cache.invalidate(&ReadQuery::row_key(resource, tenant, id));
    }
}

/// Returns the check to run before a create, unless the request allows duplicates. Errors: 400.
fn guard(resource: &Resource, request: &HttpRequest) -> Result<Option<DuplicateCheck>> {
    match (resource.duplicate_check, request.query_string()) {
        (Some(_), "allow_duplicate=true") => Ok(None),
        (Some(guard), "" | "allow_duplicate=false") => Ok(Some(guard)),
        (Some(_), _) => Err(Error::malformed(
            "unknown_parameter",
            "This operation takes one parameter: `allow_duplicate=true`. All else is in its body.",
        )),
        (None, _) => no_parameters(request).map(|()| None),
    }
}

/// Rejects parameters: the client would expect an ignored one to have an effect. Errors: 400.
pub fn no_parameters(request: &HttpRequest) -> Result<()> {
    match request.query_string() {
        "" => Ok(()),
        _ => Err(Error::malformed(
            "unknown_parameter",
            "This operation takes no parameters; all it takes is in its body.",
        )),
    }
}

/// Returns the `{id}` of the path. Errors: 404 when it is not a UUID, and so names no row.
pub fn id(resource: &Resource, request: &HttpRequest) -> Result<Uuid> {
    request.match_info().get("id").and_then(|id| Uuid::try_parse(id).ok()).ok_or_else(|| crud::not_found(resource))
}

/// Parses `{"ids":[…],"include":["company"],"fields":["id","title"]}`. Errors: 400, 422.
fn batch_request(
    resource: &'static Resource,
    business: &TenantSettings,
    body: Json,
) -> Result<(Vec<Uuid>, Projection)> {
    const MEMBERS: [&str; 3] = ["ids", "include", "fields"];
    const MOST: usize = 1_000;
    let Json::Object(members) = body else {
        return Err(Error::malformed("not_an_object", "The body must be a JSON object."));
    };
    let mut faults: Vec<FieldError> = members
        .keys()
        .filter(|name| !MEMBERS.contains(&name.as_str()))
        .map(|name| {
            let hint = super::did_you_mean(name, MEMBERS);
            FieldError::new(format!("/{name}"), "unknown_field", format!("There is no field `{name}`.{hint}"))
        })
        .collect();
    let mut ids = Vec::new();
    match members.get("ids") {
        Some(Json::Array(items)) if (1..=MOST).contains(&items.len()) => {
            for (place, item) in items.iter().enumerate() {
                match item.as_str().and_then(|text| Uuid::try_parse(text).ok()) {
                    Some(id) => ids.push(id),
                    None => faults.push(FieldError::new(format!("/ids/{place}"), "format", "Each id is a UUID.")),
                }
            }
        }
        _ => faults.push(FieldError::new("/ids", "required", format!("`ids` is a list of 1 to {MOST} UUIDs."))),
    }
    let mut names = |name: &str| match members.get(name) {
        None => Vec::new(),
        Some(Json::Array(items)) if items.iter().all(Json::is_string) => {
            items.iter().filter_map(Json::as_str).map(str::to_owned).collect()
        }
        Some(_) => {
            faults.push(FieldError::new(format!("/{name}"), "type", format!("`{name}` is a list of names.")));
            Vec::new()
        }
    };
    let (include, fields) = (names("include"), names("fields"));
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    let view = Projection::of_names(resource, include, fields, business).map_err(|error| match error {
        Error::Malformed { faults, .. } => Error::Invalid(faults),
        other => other,
    })?;
    Ok((ids, view))
}
