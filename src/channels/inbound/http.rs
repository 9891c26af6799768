//! HTTP handlers that have updates applied again: one that is parked, or the bodies of a channel.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::dto::{ReplayBodiesRequest, ReplayedBodies};
use super::reapply;
use super::receiver::InboundReceiver;
use crate::auth::{Action, Area};
use crate::base::error::Result;
use crate::channels::channels::CHANNELS;
use crate::channels::inbound_updates::INBOUND_UPDATES;
use crate::db::{Db, Tx};
use crate::http::caller::Caller;
use crate::http::idempotency::{self, ApiResponse};
use crate::http::openapi_problems::{BodyProblems, CallerProblems, Conflict, NotFound, ServiceProblems};
use crate::http::routing;
use crate::resource::http::{id, no_parameters};
use crate::resource::{body, openapi};

/// Registers what is below `/inbound-updates`.
pub fn of_updates(scope: &mut ServiceConfig) {
    routing::resource("/{id}/application").on(Method::POST, apply).register(scope);
}

/// Registers what is below `/channels`.
pub fn of_channels(scope: &mut ServiceConfig) {
    routing::resource("/{id}/inbound-replays").on(Method::POST, replay).register(scope);
}

#[utoipa::path(
    post,
    path = "/api/v1/inbound-updates/{id}/application",
    tag = "inbound-updates",
    operation_id = "applyInboundUpdate",
    summary = "Apply an update that failed or waits",
    description = "When its cause is mended. An update that is applied is parked no more. Takes no body.",
    params(("id" = Uuid, Path, description = "Id of the update.")),
    responses(
        (status = 204, description = "Applied."),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn apply(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Channels, Action::Write)?;
    no_parameters(&request)?;
    let (id, own) = (id(&INBOUND_UPDATES, &request)?, tenant.clone());
    let apply = move |tx: &mut Tx<'_>| {
        reapply::apply(tx, &own, id)?;
        Ok(ApiResponse::new(StatusCode::NO_CONTENT, Vec::new()))
    };
    idempotency::write(&db, &tenant, &request, &body, "apply_update", apply).await
}

#[utoipa::path(
    post,
    path = "/api/v1/channels/{id}/inbound-replays",
    tag = "channels",
    operation_id = "replayInboundBodies",
    summary = "Apply again what a channel delivered",
    description = "Its bodies, unchanged, where they are still kept. What was applied before changes nothing. The 100,000 \
                   oldest ones; go on with a later `after`.",
    params(("id" = Uuid, Path, description = "Id of the channel.")),
    request_body = ReplayBodiesRequest,
    responses(
        (status = 202, description = "They are applied in a moment.", body = ReplayedBodies),
        (status = 404, response = NotFound),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn replay(
    (db, receiver): (Data<Db>, Data<InboundReceiver>),
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Channels, Action::Write)?;
    no_parameters(&request)?;
    let channel = id(&CHANNELS, &request)?;
    let ReplayBodiesRequest { after, before } = body::read(&body)?;
    let until = before.map_or(DateTime::<Utc>::MAX_UTC, |before| before.0);
    let own = tenant.clone();
    let replay = move |tx: &mut Tx<'_>| {
        let bodies = reapply::replay(tx, &own, channel, after.0, until)?;
        ApiResponse::of(StatusCode::ACCEPTED, &ReplayedBodies { bodies })
    };
    let reply = idempotency::write(&db, &tenant, &request, &body, "replay_inbound", replay).await?;
    receiver.wake();
    Ok(reply)
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(apply, replay))]
struct InboundApi;

/// Adds the operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, InboundApi::openapi());
}
