//! The operations that every noun has, over HTTP. Each is: permission, one call, reply.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value as Json;
use uuid::Uuid;

use super::answer::answer;
use super::params::{List, View};
use super::question::{Question, What};
use super::{Change, Engine, Guard, Noun, body, export, history, store};
use crate::auth::{Action, Business, Tenant};
use crate::db::Tx;
use crate::error::{Error, Fault, Result};
use crate::http::caller::{Caller, Claim};
use crate::http::precondition::IfMatch;
use crate::http::{once, routing};

/// Base of the API's paths.
pub const API: &str = "/api/v1";

/// Registers `noun`'s operations under its path. In a scope of its own, whose name is compared before any pattern is
/// tried; what is asked most comes first.
pub fn routes(noun: &'static Noun, api: &mut web::ServiceConfig) {
    let operations = noun.operations;
    let one = routing::resource("/{id}")
        .reads(Method::GET, move |engine, claim, request, _| read(noun, engine, claim, request))
        .on_if(operations.update, Method::PATCH, move |engine, caller, request, body| {
            update(noun, engine, caller, request, body)
        })
        .on_if(operations.delete, Method::DELETE, move |engine, caller, request, _| {
            delete(noun, engine, caller, request)
        });
    let many =
        routing::resource("").reads(Method::GET, move |engine, claim, request, _| list(noun, engine, claim, request));
    let many = match noun.creation {
        Some(own) => own(many),
        None => many.on_if(operations.create, Method::POST, move |engine, caller, request, body| {
            create(noun, engine, caller, request, body)
        }),
    };
    let export = routing::resource("/export")
        .reads(Method::GET, move |engine, claim, request, _| export::export(noun, engine, claim, request));
    let batch = routing::resource("/batch/read")
        .reads(Method::POST, move |engine, claim, request, body| batch_read(noun, engine, claim, request, body));
    let history = routing::resource("/{id}/history")
        .reads(Method::GET, move |engine, claim, request, _| history(noun, engine, claim, request));
    let restoration = routing::resource("/{id}/restoration").on_if(
        operations.restore,
        Method::POST,
        move |engine, caller, request, body| restore(noun, engine, caller, request, body),
    );
    api.service(web::scope(&format!("/{}", noun.path())).configure(|scope| {
        (noun.fixed)(scope);
        // Before the pattern, which it is also an example of.
        export.register(scope);
        one.register(scope);
        many.register(scope);
        batch.register(scope);
        if operations.batch {
            super::batch::routes(noun, scope);
        }
        if noun.has_history() {
            history.register(scope);
        }
        if operations.restore {
            restoration.register(scope);
        }
        (noun.routes)(scope);
    }));
}

async fn list(noun: &'static Noun, engine: Data<Engine>, claim: Claim, request: HttpRequest) -> Result<HttpResponse> {
    let asked = format!("list ?{}", request.query_string());
    let ask = |business: &Business| engine.understand(noun, business, &asked, || typed(noun, &asked, business));
    answer(engine.clone(), claim, &request, noun, ask).await
}

async fn read(noun: &'static Noun, engine: Data<Engine>, claim: Claim, request: HttpRequest) -> Result<HttpResponse> {
    let asked = format!("one {}?{}", request.match_info().query("id"), request.query_string());
    let ask = |business: &Business| engine.understand(noun, business, &asked, || typed(noun, &asked, business));
    answer(engine.clone(), claim, &request, noun, ask).await
}

async fn history(
    noun: &'static Noun,
    engine: Data<Engine>,
    claim: Claim,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let (id, query) = (request.match_info().query("id"), request.query_string());
    answer(engine.clone(), claim, &request, noun, |business: &Business| history::of_row(noun, id, query, business))
        .await
}

/// What `list ?query` or `one id?query` asks of `noun`.
pub(super) fn typed(noun: &'static Noun, typed: &str, business: &Business) -> Result<What> {
    if let Some(query) = typed.strip_prefix("list ?") {
        return Ok(What::List(List::parse(noun, query, business)?));
    }
    let one = typed.strip_prefix("one ").and_then(|one| one.split_once('?'));
    let (id, query) = one.ok_or_else(|| store::missing(noun))?;
    let id = Uuid::try_parse(id).map_err(|_| store::missing(noun))?;
    Ok(What::One(id, View::parse(noun, query, business)?))
}

async fn batch_read(
    noun: &'static Noun,
    engine: Data<Engine>,
    claim: Claim,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let ask = |business: &Business| {
        no_parameters(&request)?;
        let (ids, view) = batch_request(noun, business, body::json(&body, engine.body_depth)?)?;
        Ok(Arc::new(Question::new(noun, What::Batch(ids, view), business, "")))
    };
    answer(engine.clone(), claim, &request, noun, ask).await
}

async fn create(
    noun: &'static Noun,
    engine: Data<Engine>,
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = caller.may(noun.area, Action::Write)?;
    let guard = guard(noun, &request)?;
    let change = Change::parse(noun, body::json(&body, engine.body_depth)?, true, caller.business())?;
    let own = tenant.clone();
    once::write(&engine.db, &tenant, &request, &body, "create", move |tx| {
        guard.map_or(Ok(()), |guard| guard(tx, &own, &change))?;
        let (id, row) = (noun.writes.create)(tx, &own, change.clone())?;
        let answer = row.created(format!("{API}/{}/{id}", noun.path()));
        Ok(if noun.secret.is_none() { answer } else { answer.secret() })
    })
    .await
}

async fn update(
    noun: &'static Noun,
    engine: Data<Engine>,
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = may_change(&caller, noun, Action::Write)?;
    no_parameters(&request)?;
    let (id, expected) = (id(noun, &request)?, IfMatch::read(&request)?);
    let change = Change::parse(noun, body::json(&body, engine.body_depth)?, false, caller.business())?;
    let forgetful = tenant.clone();
    let row = engine
        .db
        .within(&tenant)
        .write("update", move |tx| (noun.writes.update)(tx, &tenant, id, change.clone(), expected))
        .await?;
    superseded(&engine, noun, &forgetful, id);
    Ok(row.answer().reply())
}

async fn delete(
    noun: &'static Noun,
    engine: Data<Engine>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let tenant = caller.may(noun.area, Action::Delete)?;
    no_parameters(&request)?;
    let (id, expected) = (id(noun, &request)?, IfMatch::read(&request)?);
    let forgetful = tenant.clone();
    engine.db.within(&tenant).write("delete", move |tx| (noun.writes.delete)(tx, &tenant, noun, id, expected)).await?;
    superseded(&engine, noun, &forgetful, id);
    Ok(HttpResponse::NoContent().finish())
}

async fn restore(
    noun: &'static Noun,
    engine: Data<Engine>,
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = may_change(&caller, noun, Action::Delete)?;
    no_parameters(&request)?;
    let (id, own) = (id(noun, &request)?, tenant.clone());
    let restore = move |tx: &mut Tx<'_>| Ok((noun.writes.restore)(tx, &own, noun, id)?.answer());
    once::write(&engine.db, &tenant, &request, &body, "restore", restore).await
}

/// As `Caller::may`, for what answers with the row: that needs the permission to read it, too. Errors: 403.
pub fn may_change(caller: &Caller, noun: &Noun, action: Action) -> Result<Tenant> {
    caller.may(noun.area, Action::Read)?;
    caller.may(noun.area, action)
}

/// After the commit: what is cached of the row has had its day. Its versions say so already; this frees memory.
fn superseded(engine: &Engine, noun: &'static Noun, tenant: &Tenant, id: Uuid) {
    if let Some(cache) = &engine.cache {
        cache.forget(&Question::of_row(noun, tenant, id));
    }
}

/// What looks for the row before it is made, unless the request allows a duplicate. Errors: 400.
fn guard(noun: &Noun, request: &HttpRequest) -> Result<Option<Guard>> {
    match (noun.guard, request.query_string()) {
        (Some(_), "allow_duplicate=true") => Ok(None),
        (Some(guard), "" | "allow_duplicate=false") => Ok(Some(guard)),
        (Some(_), _) => Err(Error::malformed(
            "unknown_parameter",
            "This operation takes one parameter: `allow_duplicate=true`. All else is in its body.",
        )),
        (None, _) => no_parameters(request).map(|()| None),
    }
}

/// A parameter that would be ignored is refused: whoever sent it believes that it does something.
pub fn no_parameters(request: &HttpRequest) -> Result<()> {
    match request.query_string() {
        "" => Ok(()),
        _ => Err(Error::malformed(
            "unknown_parameter",
            "This operation takes no parameters; all it takes is in its body.",
        )),
    }
}

/// The `{id}` of the path. What is no UUID names no row: 404.
pub fn id(noun: &Noun, request: &HttpRequest) -> Result<Uuid> {
    request.match_info().get("id").and_then(|id| Uuid::try_parse(id).ok()).ok_or_else(|| store::missing(noun))
}

/// `{"ids":[…],"include":["company"],"fields":["id","title"]}`
fn batch_request(noun: &'static Noun, business: &Business, body: Json) -> Result<(Vec<Uuid>, View)> {
    const MEMBERS: [&str; 3] = ["ids", "include", "fields"];
    const MOST: usize = 1_000;
    let Json::Object(members) = body else {
        return Err(Error::malformed("not_an_object", "The body must be a JSON object."));
    };
    let mut faults: Vec<Fault> = members
        .keys()
        .filter(|name| !MEMBERS.contains(&name.as_str()))
        .map(|name| {
            let hint = super::did_you_mean(name, MEMBERS);
            Fault::new(format!("/{name}"), "unknown_field", format!("There is no field `{name}`.{hint}"))
        })
        .collect();
    let mut ids = Vec::new();
    match members.get("ids") {
        Some(Json::Array(items)) if (1..=MOST).contains(&items.len()) => {
            for (place, item) in items.iter().enumerate() {
                match item.as_str().and_then(|text| Uuid::try_parse(text).ok()) {
                    Some(id) => ids.push(id),
                    None => faults.push(Fault::new(format!("/ids/{place}"), "format", "Each id is a UUID.")),
                }
            }
        }
        _ => faults.push(Fault::new("/ids", "required", format!("`ids` is a list of 1 to {MOST} UUIDs."))),
    }
    let mut names = |name: &str| match members.get(name) {
        None => Vec::new(),
        Some(Json::Array(items)) if items.iter().all(Json::is_string) => {
            items.iter().filter_map(Json::as_str).map(str::to_owned).collect()
        }
        Some(_) => {
            faults.push(Fault::new(format!("/{name}"), "type", format!("`{name}` is a list of names.")));
            Vec::new()
        }
    };
    let (include, fields) = (names("include"), names("fields"));
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    let view = View::of_names(noun, include, fields, business).map_err(|error| match error {
        Error::Malformed { faults, .. } => Error::Invalid(faults),
        other => other,
    })?;
    Ok((ids, view))
}
