//! HTTP handlers below `/channels/{id}/secrets`.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::dto::{AddSecretRequest, ChannelSecrets, SecretPlace};
use super::store::{self, ChannelSecret, SecretStore};
use crate::auth::{Action, Area};
use crate::base::error::{Error, Result};
use crate::channels::channels::CHANNELS;
use crate::db::{Db, Tx};
use crate::http::caller::Caller;
use crate::http::idempotency::{self, ApiResponse};
use crate::http::openapi_problems::{BodyProblems, CallerProblems, Conflict, NotFound, ServiceProblems};
use crate::http::routing;
use crate::resource::http::{API, id, no_parameters, path_uuid};
use crate::resource::list_query::Projection;
use crate::resource::{body, crud, openapi};

pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/secrets").on(Method::GET, list).on(Method::POST, add).register(scope);
    routing::resource("/{id}/secrets/{secret}").on(Method::DELETE, delete).register(scope);
}

#[utoipa::path(
    post,
    path = "/api/v1/channels/{id}/secrets",
    tag = "channels",
    operation_id = "addChannelSecret",
    summary = "Give a channel a secret",
    description = "`access_token` sends messages, `app_secret` signs what is delivered, `verify_token` is what WhatsApp names when it \
                   verifies the webhook's address. Given as `value` it is sealed with a key that is not in the database, and never shown; \
                   as `file` it is read from the operator's folder. All app secrets of a channel count, so that one can be rotated; \
                   of access tokens, the newest.",
    params(("id" = Uuid, Path, description = "Id of the channel.")),
    request_body = AddSecretRequest,
    responses(
        (status = 201, description = "Stored.", body = ChannelSecret),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn add(
    (db, secrets): (Data<Db>, Data<SecretStore>),
    caller: Caller,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Channels, Action::Write)?;
    no_parameters(&request)?;
    let channel = id(&CHANNELS, &request)?;
    let (kind, place) = body::read::<AddSecretRequest>(&body)?.parts()?;
    let own = tenant.clone();
    let add = move |tx: &mut Tx<'_>| {
        let added = match &place {
            SecretPlace::Value(value) => secrets.add(tx, &own, channel, kind, value),
            SecretPlace::File(file) => secrets.add_file(tx, &own, channel, kind, file),
        }?;
        let path = format!("{API}/{}/{channel}/secrets/{}", CHANNELS.plural, added.id);
        Ok(ApiResponse::of(StatusCode::CREATED, &added)?.location(path))
    };
    idempotency::write(&db, &tenant, &request, &body, "add_secret", add).await
}

#[utoipa::path(
    get,
    path = "/api/v1/channels/{id}/secrets",
    tag = "channels",
    operation_id = "listChannelSecrets",
    summary = "List the secrets of a channel",
    description = "Without their values, the newest first of each kind.",
    params(("id" = Uuid, Path, description = "Id of the channel.")),
    responses(
        (status = 200, description = "The secrets.", body = ChannelSecrets),
        (status = 404, response = NotFound),
        CallerProblems,
        ServiceProblems,
    )
)]
async fn list(db: Data<Db>, caller: Caller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Channels, Action::Read)?;
    no_parameters(&request)?;
    let channel = id(&CHANNELS, &request)?;
    let own = tenant.clone();
    let read = move |conn: &mut diesel::pg::PgConnection| {
        let found = crud::one(conn, &own, &CHANNELS, channel, &Projection::default())?;
        found.ok_or_else(|| crud::not_found(&CHANNELS))?;
        store::list(conn, &own, channel)
    };
    let data = db.for_tenant(&tenant).read("channel_secrets", read).await?;
    Ok(HttpResponse::Ok().json(ChannelSecrets { data }))
}

#[utoipa::path(
    delete,
    path = "/api/v1/channels/{id}/secrets/{secret}",
    tag = "channels",
    operation_id = "deleteChannelSecret",
    summary = "Delete a secret of a channel",
    description = "It counts no more at once: what it signed is refused.",
    params(
        ("id" = Uuid, Path, description = "Id of the channel."),
        ("secret" = Uuid, Path, description = "Id of the secret."),
    ),
    responses(
        (status = 204, description = "Deleted."),
        (status = 404, response = NotFound),
        CallerProblems,
        ServiceProblems,
    )
)]
async fn delete(db: Data<Db>, caller: Caller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Channels, Action::Write)?;
    no_parameters(&request)?;
    let channel = id(&CHANNELS, &request)?;
    let secret = path_uuid(&request, "secret");
    let secret = secret.ok_or_else(|| Error::NotFound("There is no such secret of this channel.".into()))?;
    let own = tenant.clone();
    db.for_tenant(&tenant).write("delete_secret", move |tx| store::delete(tx, &own, channel, secret)).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(add, list, delete))]
struct ChannelSecretsApi;

/// Adds the operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, ChannelSecretsApi::openapi());
}
