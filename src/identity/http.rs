//! HTTP handlers of `/me`, sessions, tokens, password changes and API key rotation.

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::api_keys::{self, API_KEYS};
use super::dto::{PASSWORD_CHANGE, RENEWAL, ROTATION, SIGN_IN};
use super::sessions::{self, Device};
use super::sign_in::SignIn;
use super::{email_flows, oidc};
use crate::auth::{Action, Area, Principal, Tenant};
use crate::base::error::{Error, Result};
use crate::db::{Db, SqlValue, Statement};
use crate::http::caller::Caller;
use crate::http::{client_ip, idempotency, response, routing};
use crate::resource::action_body::ActionBody;
use crate::resource::{crud, row_json};

/// How long the old key still works after a rotation, in seconds, unless the request sets it.
const OVERLAP: i64 = 24 * 3600;

pub fn routes(api: &mut ServiceConfig) {
    routing::resource("/me").on(Method::GET, me).register(api);
    routing::resource("/auth/sessions").open(Method::POST, sign_in).on(Method::GET, list).register(api);
    routing::resource("/auth/sessions/{id}").on(Method::DELETE, sign_out).register(api);
    routing::resource("/auth/tokens").open(Method::POST, renew).register(api);
    routing::resource("/auth/password-changes").on(Method::POST, change_password).register(api);
    email_flows::routes(api);
    oidc::http::routes(api);
}

/// Registers the routes below `/api-keys`.
pub fn key_routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/rotation").on(Method::POST, rotate).register(scope);
}

async fn rotate(state: Data<SignIn>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Keys, Action::Write)?;
    let id = Uuid::try_parse(request.match_info().query("id")).map_err(|_| crud::not_found(&API_KEYS))?;
    let overlap = ActionBody::read(&body, &ROTATION)?.int("overlap_seconds").unwrap_or(OVERLAP);
    let (key, own) = (api_keys::generate()?, tenant.clone());
    idempotency::write(&state.db, &tenant, &request, &body, "rotate_key", move |tx| {
        Ok(api_keys::rotate(tx, &own, id, overlap, &key)?.answer().secret())
    })
    .await
}

async fn sign_in(state: Data<SignIn>, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let form = ActionBody::read(&body, &SIGN_IN)?;
    let (email, password) = (form.required("email"), form.required("password"));
    let session = state.sign_in(&email, &password, form.text("business"), device(&request)).await?;
    Ok(secret(HttpResponse::Created(), &session))
}

/// Returns user agent and address of the client.
pub(super) fn device(request: &HttpRequest) -> Device {
    let agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    Device::new(agent, Some(client_ip::address(request).to_string()))
}

async fn renew(state: Data<SignIn>, _: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let token = ActionBody::read(&body, &RENEWAL)?.required("refresh_token");
    Ok(secret(HttpResponse::Ok(), &state.renew(&token).await?))
}

async fn list(state: Data<SignIn>, caller: Caller, _: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let (tenant, user, current) = caller.person()?;
    let rows = state.db.for_tenant(&tenant).read("sessions", move |conn| sessions::list(conn, &tenant, user)).await?;
    let mut out = b"{\"data\":[".to_vec();
    for (place, row) in rows.iter().enumerate() {
        out.extend_from_slice(if place > 0 { b",{" } else { b"{" });
        row_json::members(&mut out, &sessions::FIELDS, row, 0, None);
        let mine = row.uuid(0) == Some(current);
        out.extend_from_slice(format!(",\"current\":{mine}}}").as_bytes());
    }
    out.extend_from_slice(b"]}");
    Ok(response::json(HttpResponse::Ok(), out))
}

async fn sign_out(state: Data<SignIn>, caller: Caller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let (tenant, user, current) = caller.person()?;
    let id = match request.match_info().query("id") {
        "current" => current,
        id => Uuid::try_parse(id).map_err(|_| Error::NotFound("You have no such session.".into()))?,
    };
    state.db.for_tenant(&tenant).write("sign_out", move |tx| sessions::end_own(tx, &tenant, user, id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn change_password(state: Data<SignIn>, caller: Caller, _: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let (_, user, session) = caller.person()?;
    let form = ActionBody::read(&body, &PASSWORD_CHANGE)?;
    let (current, new) = (form.required("current_password"), form.required("new_password"));
    state.change_password(user, session, current, new).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn me(state: Data<SignIn>, caller: Caller, _: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let business = caller.business();
    let principal = described(&state.db, &caller.own(), caller.principal()).await?;
    Ok(HttpResponse::Ok().json(json!({
        "principal": principal,
        "business": {
            "id": business.id,
            "country": business.country,
            "time_zone": business.time_zone,
            "currency": business.currency,
        },
        "role": caller.role().name(),
        "permissions": caller.own().permissions().names().collect::<Vec<_>>(),
        "sees": if caller.own().restricted_to_user().is_some() { "assigned" } else { "all" },
    })))
}

/// Returns the caller's kind, id, name, email address and session.
async fn described(db: &Db, own: &Tenant, principal: Principal) -> Result<Json> {
    let (kind, id, session, sql) = match principal {
        Principal::Key(id) => ("api_key", id, None, "SELECT k.name, NULL::text FROM api_keys k WHERE k.business_id = "),
        Principal::User { id, session } => (
            "user",
            id,
            Some(session),
            "SELECT u.name, u.email FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.business_id = ",
        ),
    };
    let column = if session.is_some() { " AND u.id = " } else { " AND k.id = " };
    let mut asked = Statement::new(sql);
    asked.bind(SqlValue::Uuid(Some(own.id()))).push(column).bind(SqlValue::Uuid(Some(id)));
    let row = db.for_tenant(own).read("me", move |conn| Ok(asked.row(conn)?)).await?;
    let text = |index| row.as_ref().and_then(|row| row.text(index)).map(str::to_owned);
    Ok(json!({ "kind": kind, "id": id, "name": text(0), "email": text(1), "session_id": session }))
}

/// Builds a response which carries credentials.
pub(super) fn secret(mut reply: actix_web::HttpResponseBuilder, body: &Json) -> HttpResponse {
    unkept(reply.json(body))
}

/// Forbids storing the response (RFC 6749, section 5.1).
fn unkept(mut reply: HttpResponse) -> HttpResponse {
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
