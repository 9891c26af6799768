//! HTTP handlers of `POST /contacts/duplicates` and `POST /companies/duplicates`.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use diesel::pg::PgConnection;
use serde::Serialize;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use uuid::Uuid;

use super::dto::{
    CompanyDuplicate, CompanyDuplicateSearch, CompanyDuplicates, ContactDuplicate, ContactDuplicateSearch,
    ContactDuplicates, DuplicateLimit, KnownRow, SHOWN, fields,
};
use super::score::ScoredMatch;
use super::search::{Prospect, search};
use crate::auth::{Action, Tenant, TenantSettings};
use crate::base::error::{Error, FieldError, Result};
use crate::crm::companies::COMPANIES;
use crate::crm::contacts::CONTACTS;
use crate::db::Db;
use crate::http::caller::Caller;
use crate::http::openapi_problems::{BodyProblems, CallerProblems, NotFound, ServiceProblems};
use crate::http::payload::BodyLimits;
use crate::http::routing;
use crate::resource::crud::{RelatedRows, row};
use crate::resource::http::no_parameters;
use crate::resource::list_query::Projection;
use crate::resource::{Changeset, Resource, Row, ValidationErrors, body, openapi, row_json, select};

/// What the handlers use.
type State = (Data<Db>, Data<BodyLimits>);

const ABOUT: &str = "Of a row that could be made, or of one that is there (`id`). E-mail addresses are compared without case; \
                     one that differs only in what follows a `+`, or at Gmail in its dots, is a `similar_email`. Phone numbers \
                     are compared in E.164, domains without `www.`, names by trigrams. Changes nothing.";

/// Registers the route below `/contacts`.
pub fn of_contacts(scope: &mut ServiceConfig) {
    routing::resource("/duplicates").on(Method::POST, find_contacts).register(scope);
}

/// Registers the route below `/companies`.
pub fn of_companies(scope: &mut ServiceConfig) {
    routing::resource("/duplicates").on(Method::POST, find_companies).register(scope);
}

#[utoipa::path(
    post,
    path = "/api/v1/contacts/duplicates",
    tag = "contacts",
    operation_id = "findDuplicateContacts",
    summary = "Find contacts that could be the same",
    description = ABOUT,
    request_body = ContactDuplicateSearch,
    responses(
        (status = 200, description = "Done.", body = ContactDuplicates),
        (status = 404, response = NotFound),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn find_contacts(state: State, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let one = |row: Row, ScoredMatch { score, reasons, .. }| {
        Ok(ContactDuplicate { contact: row.try_into()?, score, reasons })
    };
    let data = duplicates(&CONTACTS, state, caller, request, body, one).await?;
    Ok(HttpResponse::Ok().json(ContactDuplicates { data }))
}

#[utoipa::path(
    post,
    path = "/api/v1/companies/duplicates",
    tag = "companies",
    operation_id = "findDuplicateCompanies",
    summary = "Find companies that could be the same",
    description = ABOUT,
    request_body = CompanyDuplicateSearch,
    responses(
        (status = 200, description = "Done.", body = CompanyDuplicates),
        (status = 404, response = NotFound),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn find_companies(state: State, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let one = |row: Row, ScoredMatch { score, reasons, .. }| {
        Ok(CompanyDuplicate { company: row.try_into()?, score, reasons })
    };
    let data = duplicates(&COMPANIES, state, caller, request, body, one).await?;
    Ok(HttpResponse::Ok().json(CompanyDuplicates { data }))
}

/// Finds duplicates of the resource; `one` makes an item of the response.
async fn duplicates<T: Serialize + Send + 'static>(
    resource: &'static Resource,
    (db, limits): State,
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
    one: fn(Row, ScoredMatch) -> Result<T>,
) -> Result<Vec<T>> {
    let tenant = caller.require(resource.area, Action::Read)?;
    no_parameters(&request)?;
    let asked = Asked::read(resource, &body, limits.max_depth, caller.business())?;
    let scoped = db.for_tenant(&tenant);
    scoped.read("duplicates", move |conn| asked.answer(conn, &tenant, resource, one)).await
}

/// A parsed request body.
struct Asked {
    prospect: Prospect,
    limit: usize,
}

impl Asked {
    /// Parses the body. Errors: 400; 422 with every validation error.
    fn read(resource: &'static Resource, body: &Bytes, depth: usize, business: &TenantSettings) -> Result<Self> {
        let (mut members, mut faults) = (body::members(body, depth)?, ValidationErrors::default());
        let known: Vec<&str> = ["limit", "id"].into_iter().chain(fields(resource).map(|field| field.name)).collect();
        body::only(&mut members, &known, &mut faults);
        let limit = body::take(&mut members, "limit", &mut faults).map_or(SHOWN, |DuplicateLimit(limit)| limit);
        if let Some(KnownRow(id)) = body::take(&mut members, "id", &mut faults) {
            for name in members.keys() {
                let detail = format!("`{name}` does not go with `id`: give the `id` of a row, or the fields of one.");
                faults.field(name, "not_with_id", detail);
            }
            faults.into_result()?;
            let prospect = Prospect { id: Some(id), ..Prospect::default() };
            return Ok(Self { prospect, limit: limit as usize });
        }
        let change = faults.and(Changeset::parse(resource, members.into(), false, business))?;
        let prospect = Prospect::of_change(&change);
        if prospect.is_empty() {
            let detail =
                "Give an `id`, or something that rows are found by: a name, an address, a number, an external_id.";
            return Err(Error::Invalid(vec![FieldError::new("", "required", detail)]));
        }
        Ok(Self { prospect, limit: limit as usize })
    }

    /// Returns the likeliest rows. Queries: two, and one more for an existing row. Errors: 404.
    fn answer<T>(
        &self,
        conn: &mut PgConnection,
        tenant: &Tenant,
        resource: &'static Resource,
        one: fn(Row, ScoredMatch) -> Result<T>,
    ) -> Result<Vec<T>> {
        let prospect = match self.prospect.id {
            Some(id) => Prospect::of_row(conn, tenant, resource, id)?,
            None => self.prospect.clone(),
        };
        let mut rated = search(conn, tenant, resource, &prospect)?;
        rated.truncate(self.limit);
        let (view, ids): (_, Vec<Uuid>) = (Projection::default(), rated.iter().map(|one| one.id).collect());
        let rows = select::by_ids(resource, tenant, &view, ids).rows(conn)?;
        let found = rated.into_iter().filter_map(|rated| {
            let cells = rows.iter().find(|cells| row_json::id(cells) == rated.id)?;
            Some(one(row(resource, &view, cells, &RelatedRows::default()), rated))
        });
        found.collect()
    }
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(find_contacts, find_companies))]
struct DuplicatesApi;

/// Adds the operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, DuplicatesApi::openapi());
}
