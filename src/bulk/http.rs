//! Bulk operations over HTTP.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value as Json, json};

use super::{BULK, Order, nouns};
use crate::app::App;
use crate::auth::{Action, Business, Tenant};
use crate::db::{Statement, Tx};
use crate::error::{Error, Fault, Result};
use crate::http::caller::Caller;
use crate::http::once::{self, Answer};
use crate::http::routing;
use crate::jobs;
use crate::noun::http::no_parameters;
use crate::noun::{Noun, batch, body, select};
use crate::ops::jobs as shown;

/// Levels of nesting that it adds to those of what it sets.
const DEEPER: usize = 1;

/// Registers it for every noun that has it; before the nouns, whose patterns it is an example of.
pub fn routes(api: &mut ServiceConfig) {
    for noun in nouns() {
        let resource = routing::resource(&format!("/{}/bulk-operations", noun.path()));
        resource
            .on(Method::POST, move |app, caller, request, body| ask(noun, app, caller, request, body))
            .register(api);
    }
}

async fn ask(
    noun: &'static Noun,
    app: Data<App>,
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    // What a filter finds is told by its number.
    caller.may(noun.area, Action::Read)?;
    caller.may(noun.area, Action::Write).or_else(|error| caller.may(noun.area, Action::Delete).map_err(|_| error))?;
    no_parameters(&request)?;
    let order = Order::read(noun, body::json(&body, app.config.body_depth + DEEPER)?, caller.business())?;
    let tenant = caller.may(noun.area, order.needs())?;
    let (own, business) = (tenant.clone(), caller.business().clone());
    let asked = move |tx: &mut Tx<'_>| accept(tx, &own, &business, &order);
    let reply = once::write(&app.db, &tenant, &request, &body, "bulk_operation", asked).await?;
    app.bells.jobs.notify_one();
    Ok(reply)
}

/// Counts, and makes the job: `{"matched":n,"job":{…}}`. Errors: 422 for links that lead nowhere; 429.
fn accept(tx: &mut Tx<'_>, tenant: &Tenant, business: &Business, order: &Order) -> Result<Answer> {
    if let Some(change) = order.change(business)? {
        batch::follow_links(tx, tenant, change).map_err(|error| within(order, error))?;
    }
    let counted = select::count(&order.list(business)?, tenant, 0).row(tx)?;
    let matched = counted.and_then(|row| row.int(0)).unwrap_or_default();
    if order.dry_run {
        return Ok(Answer::new(StatusCode::OK, json!({ "matched": matched, "job": null }).to_string().into_bytes()));
    }
    let now =
        Statement::new("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')").row(tx)?;
    let mut input = order.kept();
    input["until"] = now.as_ref().and_then(|row| row.text(0)).into();
    input["matched"] = matched.into();
    let id = jobs::enqueue(tx, tenant, &BULK, input)?;
    let row = shown::shown(tx, tenant, id)?;
    let job: Json = serde_json::from_slice(&row.json).map_err(|error| Error::Internal(error.to_string()))?;
    let body = json!({ "matched": matched, "job": job }).to_string().into_bytes();
    Ok(Answer::new(StatusCode::ACCEPTED, body).location(shown::path(id)))
}

/// `error` of what is set, as it stands in the body.
fn within(order: &Order, error: Error) -> Error {
    match error {
        Error::Invalid(faults) => {
            let moved = |fault: Fault| Fault { pointer: format!("{}{}", order.place, fault.pointer), ..fault };
            Error::Invalid(faults.into_iter().map(moved).collect())
        }
        other => other,
    }
}
