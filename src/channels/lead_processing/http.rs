//! HTTP handler of `POST /leads/{id}/processing`.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::HttpMethod;

use super::processing::{Processing, TALK};
use crate::auth::Action;
use crate::base::error::Result;
use crate::channels::conversations::CONVERSATIONS;
use crate::channels::messages::MESSAGES;
use crate::crm::decisions::DECISIONS;
use crate::crm::leads::LEADS;
use crate::db::Db;
use crate::http::caller::Caller;
use crate::http::payload::BodyLimits;
use crate::http::precondition::IfMatch;
use crate::http::{idempotency, routing};
use crate::resource::http::{id, may_change, no_parameters};
use crate::resource::openapi::{Act, Gives, Part, Shape};

/// Registers the route below `/leads`.
pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/processing").on(Method::POST, process).register(scope);
}

async fn process(
    (db, limits): (Data<Db>, Data<BodyLimits>),
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = may_change(&caller, &LEADS, Action::Write)?;
    no_parameters(&request)?;
    let (id, expected) = (id(&LEADS, &request)?, IfMatch::read(&request)?);
    let asked = Processing::read(&body, limits.max_depth, caller.business())?;
    let own = tenant.clone();
    idempotency::write(&db, &tenant, &request, &body, "processing", move |tx| asked.run(tx, &own, id, expected)).await
}

static PROCESSING: [Part; 3] = [
    Part::new("lead", Shape::Changes(&LEADS, |_| true), "A merge patch of the lead."),
    Part::new(
        "conversation",
        Shape::Creates(
            &CONVERSATIONS,
            |name| TALK.contains(&name),
            &[Part::new("message", Shape::Creates(&MESSAGES, |name| name != "conversation_id", &[]), "What was said.")],
        ),
        "The open conversation with this address goes on, or one is opened. It is about the lead from now on, and with the \
         lead's contact where it names nobody.",
    ),
    Part::new(
        "decision",
        Shape::Creates(&DECISIONS, |name| name != "lead_id", &[]),
        "What was decided. Its conversation is the one above, if there is one.",
    )
    .needed(),
];
static PROCESSED: [Part; 4] = [
    Part::new("lead", Shape::Row(&LEADS), "The lead as it is now.").needed(),
    Part::new("conversation", Shape::Row(&CONVERSATIONS), "The conversation as it is now."),
    Part::new("message", Shape::Row(&MESSAGES), "What was said."),
    Part::new("decision", Shape::Row(&DECISIONS), "What was decided.").needed(),
];

/// Adds the operation to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    let process = Act {
        method: HttpMethod::Post,
        path: "/leads/{id}/processing",
        tag: LEADS.plural,
        id: "processLead",
        summary: "Record what came of looking at a lead",
        about: "In one transaction: the lead is changed, a conversation goes on or begins, and the decision is recorded; all of it or \
         nothing. `Location` is that of the decision, the ETag is the lead's.",
        takes: &[],
        status: 201,
        gives: Gives::Parts(&PROCESSED),
        problems: &[400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 503],
        open: false,
    };
    process.describe_with(&PROCESSING, api);
}
