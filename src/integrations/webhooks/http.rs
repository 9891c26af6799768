//! HTTP handlers below `/webhooks/{id}`: secret rotation, pings, deliveries, redelivery and replays.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::deliveries::{self, DELIVERIES, DeliveryRow};
use super::dispatcher::DeliveryWaker;
use super::dto::{Replay, ReplayRequest};
use super::resource::WEBHOOKS;
use super::secret;
use crate::auth::{Action, Area, Identity};
use crate::base::error::Result;
use crate::db::{Db, Tx};
use crate::http::caller::{Caller, UnverifiedCaller};
use crate::http::idempotency::{self, ApiResponse};
use crate::http::openapi_problems::{BodyProblems, CallerProblems, NotFound, ServiceProblems};
use crate::http::routing;
use crate::resource::cached_read::cached_read;
use crate::resource::http::{API, id, no_parameters, path_uuid};
use crate::resource::{ReadService, body, crud, openapi};

/// What the handlers that create deliveries use.
type State = (Data<Db>, Data<DeliveryWaker>);

pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/secret-rotation").on(Method::POST, rotate).register(scope);
    routing::resource("/{id}/pings").on(Method::POST, ping).register(scope);
    routing::resource("/{id}/deliveries").reads(Method::GET, list).register(scope);
    routing::resource("/{id}/deliveries/{delivery}/redelivery").on(Method::POST, again).register(scope);
    routing::resource("/{id}/replays").on(Method::POST, replay).register(scope);
}

#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{id}/secret-rotation",
    tag = "webhooks",
    operation_id = "rotateWebhookSecret",
    summary = "Give a webhook another secret",
    description = "Shown once. For 24 hours what is sent is signed with the old one as well, in the same header. Takes no body.",
    params(("id" = Uuid, Path, description = "Id of the webhook.")),
    responses(
        (status = 200, description = "The row as it is now.", body = ref("#/components/schemas/WebhookCreated")),
        (status = 404, response = NotFound),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn rotate(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Webhooks, Action::Write)?;
    no_parameters(&request)?;
    let (id, new) = (id(&WEBHOOKS, &request)?, secret::generate()?);
    let own = tenant.clone();
    let rotate = move |tx: &mut Tx<'_>| Ok(secret::rotate(tx, &own, id, &new)?.answer().secret());
    idempotency::write(&db, &tenant, &request, &body, "rotate_webhook", rotate).await
}

#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{id}/pings",
    tag = "webhooks",
    operation_id = "pingWebhook",
    summary = "Try a webhook",
    description = "Sends a `webhook.test`, even while it is paused. Its delivery tells what came of it. Takes no body.",
    params(("id" = Uuid, Path, description = "Id of the webhook.")),
    responses(
        (status = 201, description = "The delivery as it is now.", body = DeliveryRow),
        (status = 404, response = NotFound),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
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
    cached_read(reads.clone(), caller, &request, &DELIVERIES, |identity: &Identity| {
        deliveries::of_webhook(id, query, &identity.settings)
    })
    .await
}

#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{id}/deliveries/{delivery}/redelivery",
    tag = "webhooks",
    operation_id = "redeliverEvent",
    summary = "Send a delivery again",
    description = "One that was delivered or given up; one that is on its way is left unchanged. Takes no body.",
    params(
        ("id" = Uuid, Path, description = "Id of the webhook."),
        ("delivery" = Uuid, Path, description = "Id of the delivery."),
    ),
    responses(
        (status = 200, description = "The delivery as it is now.", body = DeliveryRow),
        (status = 404, response = NotFound),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn again((db, waker): State, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Webhooks, Action::Write)?;
    no_parameters(&request)?;
    let delivery = path_uuid(&request, "delivery");
    let (id, delivery) = (id(&WEBHOOKS, &request)?, delivery.ok_or_else(|| crud::not_found(&DELIVERIES))?);
    let own = tenant.clone();
    let again = move |tx: &mut Tx<'_>| Ok(deliveries::again(tx, &own, id, delivery)?.answer());
    let reply = idempotency::write(&db, &tenant, &request, &body, "redeliver", again).await?;
    waker.wake();
    Ok(reply)
}

#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{id}/replays",
    tag = "webhooks",
    operation_id = "replayWebhook",
    summary = "Send all events again from some moment on",
    description = "Those that the webhook wants and that are still kept, delivered or not, in order. Up to 5,000 events are looked \
                   at; go on with `after` until `next` is null.",
    params(("id" = Uuid, Path, description = "Id of the webhook.")),
    request_body = ReplayRequest,
    responses(
        (status = 200, description = "Done.", body = Replay),
        (status = 404, response = NotFound),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn replay((db, waker): State, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Webhooks, Action::Write)?;
    no_parameters(&request)?;
    let (id, from) = (id(&WEBHOOKS, &request)?, body::read::<ReplayRequest>(&body)?.start()?);
    let own = tenant.clone();
    let replay = move |tx: &mut Tx<'_>| ApiResponse::of(StatusCode::OK, &deliveries::replay(tx, &own, id, from)?);
    let reply = idempotency::write(&db, &tenant, &request, &body, "replay_webhook", replay).await?;
    waker.wake();
    Ok(reply)
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(rotate, ping, again, replay))]
struct WebhooksApi;

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
    openapi::merge(api, WebhooksApi::openapi());
}
