//! Batches over HTTP.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::{Act, Batch, answer};
use crate::auth::{Action, Tenant};
use crate::context;
use crate::db::Tx;
use crate::error::Result;
use crate::http::caller::Caller;
use crate::http::once::Answer;
use crate::http::{once, routing};
use crate::noun::http::no_parameters;
use crate::noun::{Engine, Noun, body};

/// Levels of nesting that a batch adds to those of its items.
const DEEPER: usize = 2;

/// Registers the batches of `noun` below its plural.
pub fn routes(noun: &'static Noun, scope: &mut ServiceConfig) {
    for act in Act::ALL {
        let resource = routing::resource(&format!("/batch/{}", act.name())).large();
        resource
            .on(Method::POST, move |engine, caller, request, body| write(noun, act, engine, caller, request, body))
            .register(scope);
    }
}

async fn write(
    noun: &'static Noun,
    act: Act,
    engine: Data<Engine>,
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = may(&caller, noun, act)?;
    no_parameters(&request)?;
    let batch = Batch::read(noun, act, body::json(&body, engine.body_depth + DEEPER)?, caller.business())?;
    let (own, id) = (tenant.clone(), context::request_id());
    let answer = move |tx: &mut Tx<'_>| Ok(Answer::new(StatusCode::OK, answer(tx, &own, &batch, &id)?));
    once::write(&engine.db, &tenant, &request, &body, act.work(), answer).await
}

/// Errors: 403. What answers with rows needs the permission to read them, too.
fn may(caller: &Caller, noun: &Noun, act: Act) -> Result<Tenant> {
    if act == Act::Delete {
        return caller.may(noun.area, Action::Delete);
    }
    caller.may(noun.area, Action::Read)?;
    caller.may(noun.area, Action::Write)
}
