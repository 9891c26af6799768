//! Rotation of an API key: `POST /api-keys/{id}/rotation` replaces its secret.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use uuid::Uuid;

use super::definition::API_KEYS;
use super::store::{generate, guard_key, prefix, with_secret};
use crate::auth::{Action, Area, Tenant, hash};
use crate::base::error::{Error, Result};
use crate::db::{Db, Statement, Tx};
use crate::http::caller::Caller;
use crate::http::openapi_problems::{BodyProblems, CallerProblems, Conflict, NotFound, ServiceProblems};
use crate::http::{idempotency, routing};
use crate::identity::requests::RotateApiKeyRequest;
use crate::resource::{Row, body, crud};

/// How long the old key still works after a rotation, in seconds, unless the request sets it.
const OVERLAP: i64 = 24 * 3600;

/// Registers the route below `/api-keys`.
pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/rotation").on(Method::POST, rotate).register(scope);
}

#[utoipa::path(
    post,
    path = "/api/v1/api-keys/{id}/rotation",
    tag = "api-keys",
    operation_id = "rotateApiKey",
    summary = "Give an API key a new secret",
    description = "The new key is in the answer and is not shown again; the old one works for `overlap_seconds` more. \
                   While the one before that still does, another rotation is refused (409 `rotation_running`), unless \
                   `overlap_seconds` is 0: that ends both at once.",
    params(("id" = Uuid, Path, description = "Id of the API key.")),
    request_body = RotateApiKeyRequest,
    responses(
        (status = 200, description = "The row as it is now.", body = ref("#/components/schemas/ApiKeyCreated")),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn rotate(db: Data<Db>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Keys, Action::Write)?;
    let id = Uuid::try_parse(request.match_info().query("id")).map_err(|_| crud::not_found(&API_KEYS))?;
    let RotateApiKeyRequest { overlap_seconds } = body::read(&body)?;
    let overlap = overlap_seconds.map_or(OVERLAP, |seconds| seconds.0);
    let (key, own) = (generate()?, tenant.clone());
    idempotency::write(&db, &tenant, &request, &body, "rotate_key", move |tx| {
        Ok(replace_secret(tx, &own, id, overlap, &key)?.answer().secret())
    })
    .await
}

/// Replaces the secret of the key `id` with `key`. The old one still works for `overlap` seconds, so that programs can
/// be switched one after the other; with 0 all earlier ones end now. Errors: 404; 403 when the key may do more than the
/// caller; 409 while the secret before the last rotation still works, because this rotation would end it early.
fn replace_secret(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, overlap: i64, key: &str) -> Result<Row> {
    guard_key(tx, tenant, id)?;
    let mut sql =
        Statement::new("UPDATE api_keys SET version = version + 1, updated_at = now(), previous_hash = hash, ");
    sql.sql("previous_until = now() + make_interval(secs => ").bind(overlap).sql("), hash = ");
    sql.bind(hash(key).to_vec()).sql(", prefix = ").bind(prefix(key)).sql(" WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ").bind(id);
    if overlap > 0 {
        sql.sql(" AND (previous_until IS NULL OR previous_until <= now())");
    }
    let rotated = sql.run(tx)? > 0;
    let row = with_secret(tx, tenant, id, key)?;
    if rotated { Ok(row) } else { Err(still_rotating()) }
}

fn still_rotating() -> Error {
    Error::conflict(
        "rotation_running",
        "The key before the last rotation still works, and this rotation would end it. Wait for the end of that overlap, \
         or send `\"overlap_seconds\": 0`, which ends both keys of before at once.",
    )
}
