//! HTTP handlers of `POST /contacts/duplicates` and `POST /companies/duplicates`.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use diesel::pg::PgConnection;
use serde_json::Value as Json;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::HttpMethod;
use uuid::Uuid;

use super::search::{Prospect, SHOWN, is_contact, search};
use crate::auth::{Action, Tenant, TenantSettings};
use crate::base::error::{Error, FieldError, Result};
use crate::crm::companies::COMPANIES;
use crate::crm::contacts::CONTACTS;
use crate::db::Db;
use crate::http::caller::Caller;
use crate::http::payload::BodyLimits;
use crate::http::{response, routing};
use crate::resource::crud::{RelatedRows, row};
use crate::resource::http::no_parameters;
use crate::resource::list_query::Projection;
use crate::resource::openapi::{Act, Gives, Part, Shape};
use crate::resource::{Changeset, Field, FieldType, Mutability, Resource, action_body, body, row_json, select};

static LIMIT: Field =
    Field::named("limit", FieldType::Int { min: 1, max: SHOWN }, "5", "How many rows at most.").default("20");
static ID: Field = Field::named(
    "id",
    FieldType::Uuid,
    r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#,
    "A row that is there, instead of the fields of one.",
);

/// Registers the route below the resource's path.
pub fn routes(resource: &'static Resource, scope: &mut ServiceConfig) {
    routing::resource("/duplicates")
        .on(Method::POST, move |state, caller, request, body| duplicates(resource, state, caller, request, body))
        .register(scope);
}

async fn duplicates(
    resource: &'static Resource,
    (db, limits): (Data<Db>, Data<BodyLimits>),
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = caller.require(resource.area, Action::Read)?;
    no_parameters(&request)?;
    let asked = Asked::read(resource, &body, limits.max_depth, caller.business())?;
    let json = db.for_tenant(&tenant).read("duplicates", move |conn| asked.answer(conn, &tenant, resource)).await?;
    Ok(response::json(HttpResponse::Ok(), json))
}

/// A parsed request body.
struct Asked {
    prospect: Prospect,
    limit: usize,
}

impl Asked {
    /// Parses the body. Errors: 400; 422 with every validation error.
    fn read(resource: &'static Resource, body: &Bytes, depth: usize, business: &TenantSettings) -> Result<Self> {
        let known: Vec<&str> =
            [LIMIT.name, ID.name].into_iter().chain(fields(resource).map(|field| field.name)).collect();
        let (mut members, mut faults) = action_body::members(body, depth, &known)?;
        let mut own = |field: &'static Field| match members.shift_remove(field.name)? {
            Json::Null => None,
            given => body::value(field.field_type, given, business)
                .map_err(|(code, detail)| faults.field(field.name, code, format!("`{}` {detail}", field.name)))
                .ok(),
        };
        let (limit, id) = (own(&LIMIT), own(&ID));
        let limit = limit.and_then(|limit| limit.as_int()).unwrap_or(SHOWN);
        if let Some(id) = id.and_then(|id| id.as_uuid()) {
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

    /// Returns `{"data":[{"contact":{…},"score":0.93,"reasons":["email"]}]}`. Queries: two, and one more for an
    /// existing row. Errors: 404.
    fn answer(&self, conn: &mut PgConnection, tenant: &Tenant, resource: &'static Resource) -> Result<Vec<u8>> {
        let prospect = match self.prospect.id {
            Some(id) => Prospect::of_row(conn, tenant, resource, id)?,
            None => self.prospect.clone(),
        };
        let mut rated = search(conn, tenant, resource, &prospect)?;
        rated.truncate(self.limit);
        let (view, ids): (_, Vec<Uuid>) = (Projection::default(), rated.iter().map(|one| one.id).collect());
        let rows = select::by_ids(resource, tenant, &view, ids).rows(conn)?;
        let mut out = b"{\"data\":[".to_vec();
        for one in &rated {
            let Some(cells) = rows.iter().find(|cells| row_json::id(cells) == one.id) else { continue };
            if out.last() != Some(&b'[') {
                out.push(b',');
            }
            out.extend_from_slice(format!("{{\"{}\":", resource.name).as_bytes());
            out.extend_from_slice(&row(resource, &view, cells, &RelatedRows::default()).json);
            let reasons = serde_json::to_string(&one.reasons).unwrap_or_default();
            out.extend_from_slice(format!(",\"score\":{},\"reasons\":{reasons}}}", one.score).as_bytes());
        }
        out.extend_from_slice(b"]}");
        Ok(out)
    }
}

fn fields(resource: &'static Resource) -> impl Iterator<Item = &'static Field> {
    resource.fields.iter().filter(|field| field.mutability == Mutability::Always)
}

static SCORE: Field =
    Field::named("score", FieldType::Decimal, "0.93", "How likely they are the same, from 0 to 1.").not_null();
static REASONS: Field = Field::named(
    "reasons",
    FieldType::Tags,
    r#"["email","name"]"#,
    "What they have in common: email, similar_email, phone, domain, external_id, name, company.",
)
.not_null();
static OF_CONTACTS: [Part; 1] = [Part::new(
    "data",
    Shape::List(&[
        Part::new("contact", Shape::Row(&CONTACTS), "").needed(),
        Part::new("score", Shape::Number(&SCORE), "").needed(),
        Part::new("reasons", Shape::Field(&REASONS), "").needed(),
    ]),
    "The likeliest first.",
)
.needed()];
static OF_COMPANIES: [Part; 1] = [Part::new(
    "data",
    Shape::List(&[
        Part::new("company", Shape::Row(&COMPANIES), "").needed(),
        Part::new("score", Shape::Number(&SCORE), "").needed(),
        Part::new("reasons", Shape::Field(&REASONS), "").needed(),
    ]),
    "The likeliest first.",
)
.needed()];

/// Adds the operation of the resource to the OpenAPI document.
pub fn describe(resource: &'static Resource, api: &mut OpenApi) {
    let (path, id, summary, gives) = match is_contact(resource) {
        true => ("/contacts/duplicates", "findDuplicateContacts", "Find contacts that could be the same", &OF_CONTACTS),
        false => {
            ("/companies/duplicates", "findDuplicateCompanies", "Find companies that could be the same", &OF_COMPANIES)
        }
    };
    let act = Act {
        method: HttpMethod::Post,
        path,
        tag: resource.plural,
        id,
        summary,
        about: "Of a row that could be made, or of one that is there (`id`). E-mail addresses are compared without case; \
                one that differs only in what follows a `+`, or at Gmail in its dots, is a `similar_email`. Phone numbers \
                are compared in E.164, domains without `www.`, names by trigrams. Changes nothing.",
        takes: &[],
        status: 200,
        gives: Gives::Parts(gives),
        problems: &[400, 401, 403, 404, 408, 413, 415, 422, 503],
        open: false,
    };
    let own = [&ID, &LIMIT].into_iter().chain(fields(resource));
    let takes: Vec<Part> = own.map(|field| Part::new(field.name, Shape::Field(field), field.description)).collect();
    act.describe_with(&takes, api);
}
