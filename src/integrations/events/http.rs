//! HTTP handlers of `GET /events` and `GET /events/stream`.

use actix_web::http::{Method, header};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::broadcaster::Broadcaster;
use super::dto::{EventPage, EventPageInfo};
use super::event_log::{self, Page};
use super::event_types::{EventRegistry, EventTypes};
use super::parameters::{EventListParameters, EventStreamParameters};
use super::query::{self, After, Asked};
use super::stream::Subscriber;
use crate::auth::{Identity, Tenant};
use crate::base::error::{Error, FieldError, Result};
use crate::cache::{ComputedResponse, Entry, Source};
use crate::db::Db;
use crate::http::caller::UnverifiedCaller;
use crate::http::openapi_problems::{BadRequest, CallerProblems, Gone, ServiceProblems};
use crate::http::{response, routing};

const LIST: [&str; 4] = ["after", "resource", "type", "limit"];
const STREAM: [&str; 3] = ["after", "resource", "type"];
/// Header in which a reconnecting client sends the number of its last event (HTML, section 9.2.4).
const LAST_EVENT_ID: &str = "last-event-id";

pub fn routes(api: &mut ServiceConfig) {
    routing::resource("/events").reads(Method::GET, list).register(api);
    routing::resource("/events/stream").reads(Method::GET, stream).register(api);
}

#[utoipa::path(
    get,
    path = "/api/v1/events",
    tag = "events",
    operation_id = "listEvents",
    summary = "List events",
    description = "Every change of a row that you may read, in an order that never changes: a reader that has read up to a number \
                   will never find a smaller one that it has not seen. A page may have fewer events than its limit, or none, and \
                   still not be the last; go on after `page.next` until it is null, and later after `page.last`.",
    params(EventListParameters),
    responses(
        (status = 200, description = "A page.", body = EventPage),
        (status = 400, response = BadRequest),
        (status = 410, response = Gone),
        CallerProblems,
        ServiceProblems,
    )
)]
pub async fn list(
    (db, registry): (Data<Db>, Data<EventRegistry>),
    caller: UnverifiedCaller,
    request: HttpRequest,
    _: Bytes,
) -> Result<HttpResponse> {
    let caller = caller.revalidate().await?;
    let (asked, types, tenant) = parse(**registry, &request, &LIST, caller.identity())?;
    let (after, limit) = (asked.after.unwrap_or(After::Nothing), asked.limit);
    let db = db.for_tenant(&tenant);
    let page = db.read("events", move |conn| event_log::page(conn, &tenant, after, &types, limit)).await?;
    let body = written(&page, limit)?;
    let etag = format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(&body));
    let entry = Entry::uncached(ComputedResponse { body, etag, tags: Vec::new() });
    Ok(response::entry(&request, &entry, Source::Bypass, None))
}

#[utoipa::path(
    get,
    path = "/api/v1/events/stream",
    tag = "events",
    operation_id = "streamEvents",
    summary = "Follow events as they come",
    description = "Server-sent events: `id` is the number, `event` the type, `data` the event. It begins with what comes after \
                   `Last-Event-ID` or `after`, or else with what happens from now on. A comment comes when nothing else did for \
                   a while. The stream ends when the credential does or may do something else, when it is old, and when its \
                   reader is too slow; come back with the number of the last event, and nothing is lost.",
    params(
        EventStreamParameters,
        ("Last-Event-ID" = Option<String>, Header,
            description = "The number of the last event that you have. It counts before `after`."),
    ),
    responses(
        (status = 200, description = "The stream.", body = String, content_type = "text/event-stream"),
        (status = 400, response = BadRequest),
        (status = 410, response = Gone),
        CallerProblems,
        ServiceProblems,
    )
)]
pub async fn stream(
    (broadcaster, registry): (Data<Broadcaster>, Data<EventRegistry>),
    caller: UnverifiedCaller,
    request: HttpRequest,
    _: Bytes,
) -> Result<HttpResponse> {
    let caller = caller.revalidate().await?;
    let (asked, types, tenant) = parse(**registry, &request, &STREAM, caller.identity())?;
    let after = last_event_id(&request)?.or(asked.after).unwrap_or(After::Latest);
    let subscription = Broadcaster::subscribe(&broadcaster, tenant.id(), types.clone())?;
    let (whose, wanted) = (tenant.clone(), types.clone());
    // After a restart all clients reconnect at once.
    let turn = broadcaster.reads.acquire().await.map_err(|error| Error::Internal(error.to_string()))?;
    let db = broadcaster.db.for_tenant(&tenant);
    let page = db.read("events_from", move |conn| event_log::page(conn, &whose, after, &wanted, 1)).await?;
    drop(turn);
    let position = if let After::Number(number) = after { number } else { page.last };
    let mut reply = HttpResponse::Ok();
    reply.insert_header((header::CONTENT_TYPE, "text/event-stream"));
    // Proxies such as nginx would otherwise buffer the stream.
    reply.insert_header(("x-accel-buffering", "no"));
    if *request.method() == Method::HEAD {
        return Ok(reply.finish());
    }
    Ok(reply.streaming(Subscriber { broadcaster, subscription, caller, tenant, types, position }.stream()))
}

/// Parses the request. Returns the query, the event types to send, and the tenant. Errors: 400 with every validation
/// error; 403 when a requested type may not be read.
fn parse(
    registry: EventRegistry,
    request: &HttpRequest,
    names: &[&str],
    identity: &Identity,
) -> Result<(Asked, EventTypes, Tenant)> {
    let (readable, tenant) = registry.readable(identity)?;
    let asked = Asked::read(registry, request.query_string(), names)?;
    let types = match &asked.types {
        None => readable,
        Some(wanted) => {
            wanted.must_be_readable(identity)?;
            wanted.clone()
        }
    };
    Ok((asked, types, tenant))
}

fn last_event_id(request: &HttpRequest) -> Result<Option<After>> {
    let Some(value) = request.headers().get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    let after = value.to_str().ok().and_then(query::after);
    let detail = "`Last-Event-ID` is the number of an event. Leave it out to begin with what happens from now on.";
    let fault = || Error::parameters(vec![FieldError::new("/headers/Last-Event-ID", "invalid", detail)]);
    after.map(Some).ok_or_else(fault)
}

fn written(page: &Page, limit: u32) -> Result<Vec<u8>> {
    let json = || {
        let data = page.events.iter().map(|event| serde_json::from_slice(&event.json)).collect::<Result<_, _>>()?;
        serde_json::to_vec(&EventPage { data, page: EventPageInfo { limit, next: page.next(), last: page.last } })
    };
    json().map_err(|error| Error::Internal(error.to_string()))
}
