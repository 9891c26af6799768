//! HTTP handlers of `POST /contacts/{id}/merge`, `POST /companies/{id}/merge` and `POST /merges/{id}/reversion`.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::dto::{CompanyMerge, ContactMerge, MergeRequest, MergeReversion, Merged};
use super::merge::Merge;
use super::resource::MERGES;
use super::undo;
use crate::auth::{Action, Tenant};
use crate::base::error::Result;
use crate::crm::companies::COMPANIES;
use crate::crm::contacts::CONTACTS;
use crate::db::{Db, Tx};
use crate::http::caller::Caller;
use crate::http::idempotency::{self, ApiResponse};
use crate::http::openapi_problems::{
    BodyProblems, CallerProblems, Conflict, NotFound, PreconditionFailed, ServiceProblems,
};
use crate::http::payload::BodyLimits;
use crate::http::precondition::IfMatch;
use crate::http::routing;
use crate::resource::http::{API, id, may_change, no_parameters};
use crate::resource::openapi::{self, IfMatchHeader};
use crate::resource::{Resource, body};

/// What the handlers of merges use.
type State = (Data<Db>, Data<BodyLimits>);

const ABOUT: &str = "In one transaction: everything that leads to the others leads to this one, its empty fields get their values, \
                     tags and metadata are united (of a key that several have, this one's value stays), and the others are \
                     deleted. `Location` is that of the merge, the ETag is this row's. What is deleted already is refused with \
                     409 `already_deleted`; so are, with 409 `too_much_to_merge` and their numbers, more than 10,000 rows to move.";

/// Registers the route below `/contacts`.
pub fn of_contacts(scope: &mut ServiceConfig) {
    routing::resource("/{id}/merge").on(Method::POST, merge_contacts).register(scope);
}

/// Registers the route below `/companies`.
pub fn of_companies(scope: &mut ServiceConfig) {
    routing::resource("/{id}/merge").on(Method::POST, merge_companies).register(scope);
}

/// Registers the route below `/merges`.
pub fn of_merges(scope: &mut ServiceConfig) {
    routing::resource("/{id}/reversion").on(Method::POST, revert).register(scope);
}

#[utoipa::path(
    post,
    path = "/api/v1/contacts/{id}/merge",
    tag = "contacts",
    operation_id = "mergeContacts",
    summary = "Merge contacts into one",
    description = ABOUT,
    params(("id" = Uuid, Path, description = "Id of the contact that is left."), IfMatchHeader),
    request_body = MergeRequest,
    responses(
        (status = 201, description = "Done.", body = ContactMerge),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 412, response = PreconditionFailed),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn merge_contacts(state: State, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let shape =
        |merged: Merged| Ok(ContactMerge { merge: merged.merge.try_into()?, contact: merged.survivor.try_into()? });
    merge(&CONTACTS, state, caller, request, body, shape).await
}

#[utoipa::path(
    post,
    path = "/api/v1/companies/{id}/merge",
    tag = "companies",
    operation_id = "mergeCompanies",
    summary = "Merge companies into one",
    description = ABOUT,
    params(("id" = Uuid, Path, description = "Id of the company that is left."), IfMatchHeader),
    request_body = MergeRequest,
    responses(
        (status = 201, description = "Done.", body = CompanyMerge),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 412, response = PreconditionFailed),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn merge_companies(state: State, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let shape =
        |merged: Merged| Ok(CompanyMerge { merge: merged.merge.try_into()?, company: merged.survivor.try_into()? });
    merge(&COMPANIES, state, caller, request, body, shape).await
}

/// Merges rows of the resource; `shape` makes the response.
async fn merge<T: Serialize + 'static>(
    resource: &'static Resource,
    (db, limits): State,
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
    shape: fn(Merged) -> Result<T>,
) -> Result<HttpResponse> {
    let tenant = may_merge(&caller, resource)?;
    no_parameters(&request)?;
    let (id, expected) = (id(resource, &request)?, IfMatch::read(&request)?);
    let (asked, errors) = body::read_parts::<MergeRequest>(&body, limits.max_depth)?;
    let asked = Merge::new(resource, id, asked.validate(resource, id, errors)?);
    let own = tenant.clone();
    let merge = move |tx: &mut Tx<'_>| {
        let merged = asked.run(tx, &own, expected)?;
        let (location, etag) = (format!("{API}/{}/{}", MERGES.plural, merged.id), merged.survivor.etag());
        Ok(ApiResponse::of(StatusCode::CREATED, &shape(merged)?)?.location(location).etag(etag))
    };
    idempotency::write(&db, &tenant, &request, &body, "merge", merge).await
}

#[utoipa::path(
    post,
    path = "/api/v1/merges/{id}/reversion",
    tag = "merges",
    operation_id = "revertMerge",
    summary = "Undo a merge",
    description = "Within 30 days: the others are back, what still leads to the survivor leads to them again, and its fields that \
                   nobody has changed since have their old values. `kept` says what could not be undone. 409 when that was done \
                   already, the survivor is gone, or an address of one that would come back is taken. Takes no body.",
    params(("id" = Uuid, Path, description = "Id of the merge."), IfMatchHeader),
    responses(
        (status = 200, description = "Done.", body = MergeReversion),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 412, response = PreconditionFailed),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn revert(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = may_merge(&caller, &MERGES)?;
    no_parameters(&request)?;
    let (id, expected) = (id(&MERGES, &request)?, IfMatch::read(&request)?);
    let own = tenant.clone();
    let revert = move |tx: &mut Tx<'_>| ApiResponse::of(StatusCode::OK, &undo::run(tx, &own, id, expected)?);
    idempotency::write(&db, &tenant, &request, &body, "reversion", revert).await
}

/// Merging changes and deletes rows and returns the survivor, so it needs all three permissions. Errors: 403.
fn may_merge(caller: &Caller, resource: &Resource) -> Result<Tenant> {
    may_change(caller, resource, Action::Write)?;
    caller.require(resource.area, Action::Delete)
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(merge_contacts, merge_companies, revert))]
struct MergesApi;

/// Adds the operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, MergesApi::openapi());
}
