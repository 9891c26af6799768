//! HTTP handlers below `/webhooks/{id}`: secret rotation, pings, deliveries, redelivery and replays.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::HttpMethod;
use uuid::Uuid;

use super::deliveries::{self, DELIVERIES, From};
use super::dispatcher::DeliveryWaker;
use super::resource::WEBHOOKS;
use super::secret;
use crate::auth::{Action, Area, TenantSettings};
use crate::base::error::{Error, FieldError, Result};
use crate::db::{Db, Tx};
use crate::http::caller::{Caller, UnverifiedCaller};
use crate::http::idempotency::{self, ApiResponse};
use crate::http::routing;
use crate::resource::action_body::ActionBody;
use crate::resource::cached_read::cached_read;
use crate::resource::http::{API, id, no_parameters};
use crate::resource::openapi::{self, Act, Gives};
use crate::resource::{Field, FieldType, ReadService, crud};

static REPLAY: [Field; 2] = [
    Field::named("after", FieldType::Int { min: 0, max: i64::MAX }, "4711", "From the event after this number on."),
    Field::named("since", FieldType::Time, r#""2026-11-20T09:30:00Z""#, "Or from the first event of this time on."),
];
static REPLAYED: [Field; 2] = [
    Field::named("deliveries", FieldType::Int { min: 0, max: i64::MAX }, "120", "How many are sent again.").not_null(),
    Field::named(
        "next",
        FieldType::Int { min: 0, max: i64::MAX },
        "9711",
        "`after` of the next replay, while there is more; else null.",
    ),
];

/// What the handlers that create deliveries use.
type State = (Data<Db>, Data<DeliveryWaker>);

pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/secret-rotation").on(Method::POST, rotate).register(scope);
    routing::resource("/{id}/pings").on(Method::POST, ping).register(scope);
    routing::resource("/{id}/deliveries").reads(Method::GET, list).register(scope);
    routing::resource("/{id}/deliveries/{delivery}/redelivery").on(Method::POST, again).register(scope);
    routing::resource("/{id}/replays").on(Method::POST, replay).register(scope);
}

async fn rotate(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Webhooks, Action::Write)?;
    no_parameters(&request)?;
    let (id, new) = (id(&WEBHOOKS, &request)?, secret::generate()?);
    let own = tenant.clone();
    let rotate = move |tx: &mut Tx<'_>| Ok(secret::rotate(tx, &own, id, &new)?.answer().secret());
    idempotency::write(&db, &tenant, &request, &body, "rotate_webhook", rotate).await
}

async fn ping((db, waker): State, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Webhooks, Action::Write)?;
    no_parameters(&request)?;
    let (id, own) = (id(&WEBHOOKS, &request)?, tenant.clone());
    let ping = move |tx: &mut Tx<'_>| {
        Ok(deliveries::ping(tx, &own, id)?.1.created(format!("{API}/{}/{id}/deliveries", WEBHOOKS.plural)))
    };
    let reply = idempotency::write(&db, &tenant, &request, &body, "ping_webhook", ping).await?;
    waker.wake();
    Ok(reply)
}

async fn list(
    reads: Data<ReadService>,
    caller: UnverifiedCaller,
    request: HttpRequest,
    _: Bytes,
) -> Result<HttpResponse> {
    let (id, query) = (request.match_info().query("id"), request.query_string());
    cached_read(reads.clone(), caller, &request, &DELIVERIES, |business: &TenantSettings| {
        deliveries::of_webhook(id, query, business)
    })
    .await
}

async fn again((db, waker): State, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Webhooks, Action::Write)?;
    no_parameters(&request)?;
    let delivery = request.match_info().get("delivery").and_then(|id| Uuid::try_parse(id).ok());
    let (id, delivery) = (id(&WEBHOOKS, &request)?, delivery.ok_or_else(|| crud::not_found(&DELIVERIES))?);
    let own = tenant.clone();
    let again = move |tx: &mut Tx<'_>| Ok(deliveries::again(tx, &own, id, delivery)?.answer());
    let reply = idempotency::write(&db, &tenant, &request, &body, "redeliver", again).await?;
    waker.wake();
    Ok(reply)
}

async fn replay((db, waker): State, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Webhooks, Action::Write)?;
    no_parameters(&request)?;
    let (id, from) = (id(&WEBHOOKS, &request)?, from(&ActionBody::read(&body, &REPLAY)?)?);
    let own = tenant.clone();
    let replay = move |tx: &mut Tx<'_>| {
        let done = deliveries::replay(tx, &own, id, from)?;
        let answer = json!({ "deliveries": done.deliveries, "next": done.next });
        Ok(ApiResponse::new(StatusCode::OK, answer.to_string().into_bytes()))
    };
    let reply = idempotency::write(&db, &tenant, &request, &body, "replay_webhook", replay).await?;
    waker.wake();
    Ok(reply)
}

fn from(form: &ActionBody) -> Result<From> {
    match (form.int("after"), form.time("since")) {
        (Some(number), None) => Ok(From::After(number)),
        (None, Some(time)) => Ok(From::Since(time)),
        _ => Err(Error::Invalid(vec![FieldError::new("/after", "required", "Give either `after` or `since`.")])),
    }
}

/// Adds the operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::listed_below(
        api,
        &WEBHOOKS,
        &DELIVERIES,
        "deliveries",
        "webhook_id",
        "What was sent, or is to be, the newest first: `status=dead` for what was given up.",
    );
    let usual: &[u16] = &[400, 401, 403, 404, 408, 413, 415, 422, 503];
    let acts = [
        Act {
            method: HttpMethod::Post,
            path: "/webhooks/{id}/secret-rotation",
            tag: WEBHOOKS.plural,
            id: "rotateWebhookSecret",
            summary: "Give a webhook another secret",
            about: "Shown once. For 24 hours what is sent is signed with the old one as well, in the same header.",
            takes: &[],
            status: 200,
            gives: Gives::Created(&WEBHOOKS),
            problems: usual,
            open: false,
        },
        Act {
            method: HttpMethod::Post,
            path: "/webhooks/{id}/pings",
            tag: WEBHOOKS.plural,
            id: "pingWebhook",
            summary: "Try a webhook",
            about: "Sends a `webhook.test`, even while it is paused. Its delivery tells what came of it.",
            takes: &[],
            status: 201,
            gives: Gives::Object(DELIVERIES.fields),
            problems: usual,
            open: false,
        },
        Act {
            method: HttpMethod::Post,
            path: "/webhooks/{id}/deliveries/{delivery}/redelivery",
            tag: WEBHOOKS.plural,
            id: "redeliverEvent",
            summary: "Send a delivery again",
            about: "One that was delivered or given up; one that is on its way is left as it is.",
            takes: &[],
            status: 200,
            gives: Gives::Object(DELIVERIES.fields),
            problems: usual,
            open: false,
        },
        Act {
            method: HttpMethod::Post,
            path: "/webhooks/{id}/replays",
            tag: WEBHOOKS.plural,
            id: "replayWebhook",
            summary: "Send all events again from some moment on",
            about: "Those that the webhook wants and that are still kept, delivered or not, in order. Up to 5,000 events are looked \
                    at; go on with `after` until `next` is null.",
            takes: &REPLAY,
            status: 200,
            gives: Gives::Object(&REPLAYED),
            problems: usual,
            open: false,
        },
    ];
    acts.into_iter().for_each(|act| act.describe(api));
}
