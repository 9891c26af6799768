//! HTTP handlers of sessions, tokens and password changes.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use uuid::Uuid;

use super::credential_response::credential_response;
use super::device::Device;
use super::dto::{PASSWORD_CHANGE, RENEWAL, SIGN_IN};
use super::password_change::PasswordChange;
use super::session_issuer::SessionIssuer;
use super::sessions;
use super::sign_in::SignIn;
use crate::base::error::{Error, Result};
use crate::db::Db;
use crate::http::caller::Caller;
use crate::http::routing;
use crate::resource::action_body::ActionBody;

pub fn routes(api: &mut ServiceConfig) {
    routing::resource("/auth/sessions").open(Method::POST, sign_in).on(Method::GET, list_sessions).register(api);
    routing::resource("/auth/sessions/{id}").on(Method::DELETE, sign_out).register(api);
    routing::resource("/auth/tokens").open(Method::POST, renew).register(api);
    routing::resource("/auth/password-changes").on(Method::POST, change_password).register(api);
}

async fn sign_in(sign_in: Data<SignIn>, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let form = ActionBody::read(&body, &SIGN_IN)?;
    let (email, password) = (form.required("email"), form.required("password"));
    let session = sign_in.sign_in(&email, &password, form.text("business"), Device::of(&request)).await?;
    Ok(credential_response(HttpResponse::Created(), &session))
}

async fn renew(sessions: Data<SessionIssuer>, _: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let token = ActionBody::read(&body, &RENEWAL)?.required("refresh_token");
    Ok(credential_response(HttpResponse::Ok(), &sessions.renew(&token).await?))
}

async fn list_sessions(db: Data<Db>, caller: Caller, _: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let (tenant, user, current) = caller.person()?;
    let rows =
        db.for_tenant(&tenant).read("sessions", move |conn| sessions::list(conn, &tenant, user, current)).await?;
    Ok(HttpResponse::Ok().json(json!({ "data": rows })))
}

async fn sign_out(db: Data<Db>, caller: Caller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let (tenant, user, current) = caller.person()?;
    let id = match request.match_info().query("id") {
        "current" => current,
        id => Uuid::try_parse(id).map_err(|_| Error::NotFound("You have no such session.".into()))?,
    };
    db.for_tenant(&tenant).write("sign_out", move |tx| sessions::end_own(tx, &tenant, user, id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn change_password(
    password: Data<PasswordChange>,
    caller: Caller,
    _: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let (_, user, session) = caller.person()?;
    let form = ActionBody::read(&body, &PASSWORD_CHANGE)?;
    let (current, new) = (form.required("current_password"), form.required("new_password"));
    password.change(user, session, current, new).await?;
    Ok(HttpResponse::NoContent().finish())
}
