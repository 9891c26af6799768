//! HTTP handlers of `POST /contacts/{id}/merge`, `POST /companies/{id}/merge` and `POST /merges/{id}/reversion`.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::HttpMethod;

use super::merge::{MAX_MERGED, Merge};
use super::resource::MERGES;
use super::undo;
use crate::auth::{Action, Tenant};
use crate::base::error::Result;
use crate::crm::companies::COMPANIES;
use crate::crm::contacts::CONTACTS;
use crate::db::{Db, Tx};
use crate::http::caller::Caller;
use crate::http::idempotency::{self, ApiResponse};
use crate::http::payload::BodyLimits;
use crate::http::precondition::IfMatch;
use crate::http::routing;
use crate::resource::http::{id, may_change, no_parameters};
use crate::resource::openapi::{Act, Gives, Part, Shape};
use crate::resource::{Field, FieldType, Resource};

/// Registers the route below `/contacts` or `/companies`.
pub fn routes(resource: &'static Resource, scope: &mut ServiceConfig) {
    routing::resource("/{id}/merge")
        .on(Method::POST, move |state, caller, request, body| merge(resource, state, caller, request, body))
        .register(scope);
}

/// Registers the route below `/merges`.
pub fn of_merges(scope: &mut ServiceConfig) {
    routing::resource("/{id}/reversion").on(Method::POST, revert).register(scope);
}

async fn merge(
    resource: &'static Resource,
    (db, limits): (Data<Db>, Data<BodyLimits>),
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = may_merge(&caller, resource)?;
    no_parameters(&request)?;
    let (id, expected) = (id(resource, &request)?, IfMatch::read(&request)?);
    let asked = Merge::read(resource, id, &body, limits.max_depth)?;
    let own = tenant.clone();
    idempotency::write(&db, &tenant, &request, &body, "merge", move |tx| asked.run(tx, &own, expected)).await
}

async fn revert(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = may_merge(&caller, &MERGES)?;
    no_parameters(&request)?;
    let (id, expected) = (id(&MERGES, &request)?, IfMatch::read(&request)?);
    let own = tenant.clone();
    let revert = move |tx: &mut Tx<'_>| Ok(ApiResponse::new(StatusCode::OK, undo::run(tx, &own, id, expected)?));
    idempotency::write(&db, &tenant, &request, &body, "reversion", revert).await
}

/// Merging changes and deletes rows and returns the survivor, so it needs all three permissions. Errors: 403.
fn may_merge(caller: &Caller, resource: &Resource) -> Result<Tenant> {
    may_change(caller, resource, Action::Write)?;
    caller.require(resource.area, Action::Delete)
}

static MERGE: [Part; 2] = [
    Part::new(
        "from",
        Shape::Ids(MAX_MERGED),
        "The rows that go into this one, in the order in which their values count.",
    )
    .needed(),
    Part::new("prefer", Shape::Choices, "By field, the id of the row whose value wins: this one, or one of `from`."),
];
static OF_CONTACTS: [Part; 2] = [
    Part::new("merge", Shape::Row(&MERGES), "What was done.").needed(),
    Part::new("contact", Shape::Row(&CONTACTS), "The contact that is left.").needed(),
];
static OF_COMPANIES: [Part; 2] = [
    Part::new("merge", Shape::Row(&MERGES), "What was done.").needed(),
    Part::new("company", Shape::Row(&COMPANIES), "The company that is left.").needed(),
];
static NOT_UNDONE: [Field; 2] = [
    Field::named("fields", FieldType::Tags, r#"["title"]"#, "Fields that someone has changed since.").not_null(),
    Field::named(
        "rows",
        FieldType::Object,
        r#"{"leads":1}"#,
        "How many rows of a resource lead elsewhere now, or are gone.",
    )
    .not_null(),
];
static REVERTED: [Part; 4] = [
    Part::new("merge", Shape::Row(&MERGES), "The merge as it is now.").needed(),
    Part::new("contact", Shape::Row(&CONTACTS), "The contact that they were."),
    Part::new("company", Shape::Row(&COMPANIES), "The company that they were."),
    Part::new("kept", Shape::Object(&NOT_UNDONE), "What could not be undone, and stays as it is.").needed(),
];

/// Adds the merge of the resource to the OpenAPI document.
pub fn describe(resource: &'static Resource, api: &mut OpenApi) {
    let about = "In one transaction: everything that leads to the others leads to this one, its empty fields get their values, \
                 tags and metadata are united (of a key that several have, this one's value stays), and the others are \
                 deleted. `Location` is that of the merge, the ETag is this row's. Whatever is deleted already is refused with \
                 409 `already_deleted`; so are, with 409 `too_much_to_merge` and their numbers, more than 10,000 rows to move.";
    let problems: &'static [u16] = &[400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 503];
    let (path, id, summary, gives) = match resource.plural == CONTACTS.plural {
        true => ("/contacts/{id}/merge", "mergeContacts", "Merge contacts into one", &OF_CONTACTS),
        false => ("/companies/{id}/merge", "mergeCompanies", "Merge companies into one", &OF_COMPANIES),
    };
    let act = Act {
        method: HttpMethod::Post,
        path,
        tag: resource.plural,
        id,
        summary,
        about,
        takes: &[],
        status: 201,
        gives: Gives::Parts(gives),
        problems,
        open: false,
    };
    act.describe_with(&MERGE, api);
}

/// Adds the reversion of a merge to the OpenAPI document.
pub fn describe_reversion(api: &mut OpenApi) {
    let about = "Within 30 days: the others are back, what still leads to the survivor leads to them again, and its fields that \
                 nobody has changed since have their old values. `kept` says what could not be undone. 409 when that was done \
                 already, the survivor is gone, or an address of one that would come back is taken. Takes no body.";
    let problems: &'static [u16] = &[400, 401, 403, 404, 408, 409, 412, 413, 415, 503];
    let (path, id, summary) = ("/merges/{id}/reversion", "revertMerge", "Undo a merge");
    let act = Act {
        method: HttpMethod::Post,
        path,
        tag: MERGES.plural,
        id,
        summary,
        about,
        takes: &[],
        status: 200,
        gives: Gives::Parts(&REVERTED),
        problems,
        open: false,
    };
    act.describe(api);
}
