//! HTTP handler of `POST /leads/{id}/conversion`.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::HttpMethod;

use super::LEADS;
use super::conversion::{self, Conversion};
use crate::auth::Action;
use crate::base::error::Result;
use crate::crm::companies::COMPANIES;
use crate::crm::contacts::CONTACTS;
use crate::db::Db;
use crate::http::caller::Caller;
use crate::http::payload::BodyLimits;
use crate::http::precondition::IfMatch;
use crate::http::{idempotency, routing};
use crate::resource::http::{id, may_change, no_parameters};
use crate::resource::openapi::{Act, Gives, Part, Shape};
use crate::resource::{Field, FieldType};

/// Registers the route below `/leads`.
pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/conversion").on(Method::POST, convert).register(scope);
}

async fn convert(
    (db, limits): (Data<Db>, Data<BodyLimits>),
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = may_change(&caller, &LEADS, Action::Write)?;
    no_parameters(&request)?;
    let (id, expected) = (id(&LEADS, &request)?, IfMatch::read(&request)?);
    let asked = Conversion::read(&body, limits.max_depth, caller.business())?;
    let own = tenant.clone();
    idempotency::write(&db, &tenant, &request, &body, "conversion", move |tx| asked.run(tx, &own, id, expected)).await
}

static CONVERSION: [Part; 3] = [
    Part::new(
        "company",
        Shape::Either(&COMPANIES),
        "One that is there, or a new one; one with the same domain is taken as it is. The lead's own, when left out, or else \
         the contact's.",
    ),
    Part::new(
        "contact",
        Shape::Either(&CONTACTS),
        "One that is there, or a new one; one with the same e-mail address is taken as it is. The lead's own, when left out.",
    ),
    Part::new(
        "lead",
        Shape::Changes(&LEADS, |name| !conversion::SETS.contains(&name)),
        "A merge patch of the lead. It becomes `won`, and closed now unless `closed_at` says otherwise.",
    ),
];
static CREATED: [Field; 2] = [
    Field::named("company", FieldType::Bool, "true", "Whether the company was made.").not_null(),
    Field::named("contact", FieldType::Bool, "false", "Whether the contact was made.").not_null(),
];
static CONVERTED: [Part; 4] = [
    Part::new("lead", Shape::Row(&LEADS), "The lead as it is now.").needed(),
    Part::new("company", Shape::Row(&COMPANIES), "Its company."),
    Part::new("contact", Shape::Row(&CONTACTS), "Its contact."),
    Part::new("created", Shape::Object(&CREATED), "What was made; the rest was there.").needed(),
];

/// Adds the operation to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    let convert = Act {
        method: HttpMethod::Post,
        path: "/leads/{id}/conversion",
        tag: LEADS.plural,
        id: "convertLead",
        summary: "Win a lead",
        about: "In one transaction: its company and its contact are made, or found by domain and e-mail address, and belong together \
         and to the lead, which is won. A contact who works for another company keeps it, unless the body names a `company`. \
         409 `already_converted` when it is won already.",
        takes: &[],
        status: 201,
        gives: Gives::Parts(&CONVERTED),
        problems: &[400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 503],
        open: false,
    };
    convert.describe_with(&CONVERSION, api);
}
