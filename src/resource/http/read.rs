//! Handlers of the reads that every resource has: list, one row, several rows by id, history.

use std::sync::Arc;

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value as Json;
use uuid::Uuid;

use super::request::{self, no_parameters};
use crate::auth::{Identity, TenantSettings};
use crate::base::error::{Error, FieldError, Result};
use crate::base::suggest::did_you_mean;
use crate::http::caller::UnverifiedCaller;
use crate::resource::audit_log::AUDIT_LOG;
use crate::resource::cached_read::cached_read;
use crate::resource::definition::Resource;
use crate::resource::list_query::{List, Projection};
use crate::resource::read_query::{ReadQuery, ReadTarget};
use crate::resource::read_request::ReadRequest;
use crate::resource::read_service::ReadService;
use crate::resource::{body, own_id, read_rows};

pub(super) async fn list(
    resource: &'static Resource,
    reads: Data<ReadService>,
    caller: UnverifiedCaller,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let ask = |identity: &Identity| {
        let query = own_id::named(resource, request.query_string(), identity.principal);
        reads.parse_cached(resource, &identity.settings, ReadRequest::List(query.into_owned()))
    };
    cached_read(reads.clone(), caller, &request, resource, ask).await
}

pub(super) async fn read(
    resource: &'static Resource,
    reads: Data<ReadService>,
    caller: UnverifiedCaller,
    request: HttpRequest,
) -> Result<HttpResponse> {
    row(resource, request::id(resource, &request).ok(), reads, caller, request).await
}

/// Reads the row `id`; `None`: what the path has there is no id.
pub(super) async fn row(
    resource: &'static Resource,
    id: Option<Uuid>,
    reads: Data<ReadService>,
    caller: UnverifiedCaller,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let ask = |identity: &Identity| {
        let id = id.ok_or_else(|| read_rows::not_found(resource))?;
        reads.parse_cached(resource, &identity.settings, ReadRequest::One(id, request.query_string().to_owned()))
    };
    cached_read(reads.clone(), caller, &request, resource, ask).await
}

pub(super) async fn history(
    resource: &'static Resource,
    reads: Data<ReadService>,
    caller: UnverifiedCaller,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let (id, query) = (request.match_info().query("id"), request.query_string());
    cached_read(reads.clone(), caller, &request, resource, |identity: &Identity| {
        row_history_query(resource, id, query, &identity.settings)
    })
    .await
}

pub(super) async fn batch_read(
    resource: &'static Resource,
    reads: Data<ReadService>,
    caller: UnverifiedCaller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let ask = |identity: &Identity| {
        let business = &identity.settings;
        no_parameters(&request)?;
        let (ids, view) = batch_request(resource, business, body::json(&body, reads.body_depth)?)?;
        Ok(Arc::new(ReadQuery::new(resource, ReadTarget::Batch(ids, view), business, None)))
    };
    cached_read(reads.clone(), caller, &request, resource, ask).await
}

/// Returns the query for the history of the row `id`: the audit log, filtered by that row. Errors: 400; 404 when `id`
/// is not a UUID.
fn row_history_query(
    resource: &'static Resource,
    id: &str,
    query: &str,
    business: &TenantSettings,
) -> Result<Arc<ReadQuery>> {
    let id = Uuid::try_parse(id).map_err(|_| read_rows::not_found(resource))?;
    // It would add another row's history.
    if url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "row_id") {
        return Err(Error::malformed("unknown_parameter", "The row is the one of the path; leave `row_id` out."));
    }
    let query = if query.is_empty() { format!("row_id={id}") } else { format!("{query}&row_id={id}") };
    let list = List::parse(&AUDIT_LOG, &query, business)?;
    Ok(Arc::new(ReadQuery::new(&AUDIT_LOG, ReadTarget::History(resource, id, list), business, None)))
}

/// Parses `{"ids":[…],"include":["company"],"fields":["id","title"]}`. Errors: 400, 422.
fn batch_request(
    resource: &'static Resource,
    business: &TenantSettings,
    body: Json,
) -> Result<(Vec<Uuid>, Projection)> {
    const MEMBERS: [&str; 3] = ["ids", "include", "fields"];
    const MAX_IDS: usize = 1_000;
    let Json::Object(members) = body else {
        return Err(Error::malformed("not_an_object", "The body must be a JSON object."));
    };
    let mut faults: Vec<FieldError> = members
        .keys()
        .filter(|name| !MEMBERS.contains(&name.as_str()))
        .map(|name| {
            let hint = did_you_mean(name, MEMBERS);
            FieldError::new(format!("/{name}"), "unknown_field", format!("There is no field `{name}`.{hint}"))
        })
        .collect();
    let mut ids = Vec::new();
    match members.get("ids") {
        Some(Json::Array(items)) if (1..=MAX_IDS).contains(&items.len()) => {
            for (place, item) in items.iter().enumerate() {
                match item.as_str().and_then(|text| Uuid::try_parse(text).ok()) {
                    Some(id) => ids.push(id),
                    None => faults.push(FieldError::new(format!("/ids/{place}"), "format", "Each id is a UUID.")),
                }
            }
        }
        _ => faults.push(FieldError::new("/ids", "required", format!("`ids` is a list of 1 to {MAX_IDS} UUIDs."))),
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
