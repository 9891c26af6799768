//! HTTP handlers of `/channels/{id}/template-sync`.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::sync::{self, TemplateSync};
use crate::auth::{Action, Area};
use crate::base::error::{Error, Result};
use crate::channels::channels::CHANNELS;
use crate::db::{Db, Tx};
use crate::http::caller::Caller;
use crate::http::idempotency::{self, ApiResponse};
use crate::http::openapi_problems::{BodyProblems, CallerProblems, Conflict, NotFound, ServiceProblems};
use crate::http::routing;
use crate::resource::http::{API, id, no_parameters};
use crate::resource::openapi;

pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/template-sync").on(Method::GET, show).on(Method::POST, start).register(scope);
}

#[utoipa::path(
    post,
    path = "/api/v1/channels/{id}/template-sync",
    tag = "channels",
    operation_id = "syncTemplates",
    summary = "Read the templates of a channel anew",
    description = "In the background, within seconds; each channel's are read once a day anyway. Templates that the channel does not have any \
                   more become `deleted`. The loopback channel has some for trying out. Takes no body.",
    params(("id" = Uuid, Path, description = "Id of the channel.")),
    responses(
        (status = 202, description = "It is due; that of the loopback channel is done.", body = TemplateSync),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn start(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Channels, Action::Write)?;
    no_parameters(&request)?;
    let (channel, own) = (id(&CHANNELS, &request)?, tenant.clone());
    let start = move |tx: &mut Tx<'_>| {
        let sync = sync::request(tx, &own, channel)?;
        let path = format!("{API}/{}/{channel}/template-sync", CHANNELS.plural);
        Ok(ApiResponse::of(StatusCode::ACCEPTED, &sync)?.location(path))
    };
    idempotency::write(&db, &tenant, &request, &body, "template_sync", start).await
}

#[utoipa::path(
    get,
    path = "/api/v1/channels/{id}/template-sync",
    tag = "channels",
    operation_id = "getTemplateSync",
    summary = "Show how the last reading of a channel's templates ended",
    description = "And when the next one begins. `error` says why it failed.",
    params(("id" = Uuid, Path, description = "Id of the channel.")),
    responses(
        (status = 200, description = "How it stands.", body = TemplateSync),
        (status = 404, response = NotFound),
        CallerProblems,
        ServiceProblems,
    )
)]
async fn show(db: Data<Db>, caller: Caller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Channels, Action::Read)?;
    no_parameters(&request)?;
    let (channel, own) = (id(&CHANNELS, &request)?, tenant.clone());
    let found = db.for_tenant(&tenant).read("template_sync", move |conn| sync::find(conn, &own, channel)).await?;
    let found = found.ok_or_else(|| {
        Error::NotFound("The templates of this channel were not read yet: `POST /channels/{id}/template-sync`.".into())
    })?;
    Ok(HttpResponse::Ok().json(found))
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(start, show))]
struct TemplateSyncApi;

/// Adds the operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, TemplateSyncApi::openapi());
}
