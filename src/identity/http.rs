//! HTTP handlers of sessions, tokens and password changes.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use uuid::Uuid;

use super::credential_response::credential_response;
use super::device::Device;
use super::password_change::PasswordChange;
use super::requests::{ChangePasswordRequest, RenewTokensRequest, SignInRequest};
use super::responses::{SessionList, SignedIn, TokenPair};
use super::session_issuer::SessionIssuer;
use super::sessions;
use super::sign_in::SignIn;
use crate::base::error::{Error, Result};
use crate::db::Db;
use crate::http::caller::Caller;
use crate::http::openapi_problems::{
    BodyProblems, CallerProblems, Conflict, Forbidden, NotFound, ServiceProblems, Unauthorized,
};
use crate::http::routing;
use crate::resource::body;

pub fn routes(api: &mut ServiceConfig) {
    routing::resource("/auth/sessions").open(Method::POST, sign_in).on(Method::GET, list_sessions).register(api);
    routing::resource("/auth/sessions/{id}").on(Method::DELETE, sign_out).register(api);
    routing::resource("/auth/tokens").open(Method::POST, renew).register(api);
    routing::resource("/auth/password-changes").on(Method::POST, change_password).register(api);
}

#[utoipa::path(
    post,
    path = "/api/v1/auth/sessions",
    tag = "auth",
    operation_id = "signIn",
    summary = "Sign in",
    description = "Answers with a short-lived access token and a refresh token. Who belongs to several businesses and \
                   names none gets 409 `choose_business` with their slugs. Wrong passwords are counted by account and \
                   by address; after too many, 429 says when to try again.",
    security(()),
    request_body = SignInRequest,
    responses(
        (status = 201, description = "Done.", body = SignedIn),
        (status = 401, response = Unauthorized),
        (status = 403, response = Forbidden),
        (status = 409, response = Conflict),
        BodyProblems,
        ServiceProblems,
    )
)]
async fn sign_in(sign_in: Data<SignIn>, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let SignInRequest { email, password, business } = body::read(&body)?;
    let business = business.as_ref().map(|slug| slug.0.as_str());
    let session = sign_in.sign_in(&email.0, password.0, business, Device::of(&request)).await?;
    Ok(credential_response(HttpResponse::Created(), &session))
}

#[utoipa::path(
    post,
    path = "/api/v1/auth/tokens",
    tag = "auth",
    operation_id = "renewTokens",
    summary = "Renew the tokens",
    description = "A refresh token counts once. One that comes again, later than a moment after, ends its session: \
                   either the person or a thief has used it before. Where one was sent twice within that moment, only one \
                   of the two that it gave may go on; so programs that share a session share its tokens.",
    security(()),
    request_body = RenewTokensRequest,
    responses(
        (status = 200, description = "Done.", body = TokenPair),
        (status = 401, response = Unauthorized),
        BodyProblems,
        ServiceProblems,
    )
)]
async fn renew(sessions: Data<SessionIssuer>, _: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let RenewTokensRequest { refresh_token } = body::read(&body)?;
    Ok(credential_response(HttpResponse::Ok(), &sessions.renew(&refresh_token.0).await?))
}

#[utoipa::path(
    get,
    path = "/api/v1/auth/sessions",
    tag = "auth",
    operation_id = "listSessions",
    summary = "List one's own sessions",
    description = "Of this business, the last used first; at most 100. For people only.",
    responses(
        (status = 200, description = "All of them.", body = SessionList),
        CallerProblems,
        ServiceProblems,
    )
)]
async fn list_sessions(db: Data<Db>, caller: Caller, _: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let (tenant, user, current) = caller.person()?;
    let scoped = db.for_tenant(&tenant);
    let data = scoped.read("sessions", move |conn| sessions::list(conn, &tenant, user, current)).await?;
    Ok(HttpResponse::Ok().json(SessionList { data }))
}

#[utoipa::path(
    delete,
    path = "/api/v1/auth/sessions/{id}",
    tag = "auth",
    operation_id = "signOut",
    summary = "Sign out",
    description = "Ends one's own session of this id, or the one that asks (`current`). Its tokens are refused from the \
                   next request on, on every replica.",
    params(("id" = String, Path, description = "Its id, or `current`.")),
    responses(
        (status = 204, description = "Done."),
        (status = 404, response = NotFound),
        CallerProblems,
        ServiceProblems,
    )
)]
async fn sign_out(db: Data<Db>, caller: Caller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let (tenant, user, current) = caller.person()?;
    let id = match request.match_info().query("id") {
        "current" => current,
        id => Uuid::try_parse(id).map_err(|_| Error::NotFound("You have no such session.".into()))?,
    };
    db.for_tenant(&tenant).write("sign_out", move |tx| sessions::end_own(tx, &tenant, user, id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[utoipa::path(
    post,
    path = "/api/v1/auth/password-changes",
    tag = "auth",
    operation_id = "changePassword",
    summary = "Change one's own password",
    description = "Ends all other sessions of the person, in every business.",
    request_body = ChangePasswordRequest,
    responses(
        (status = 204, description = "Done."),
        BodyProblems,
        CallerProblems,
        ServiceProblems,
    )
)]
async fn change_password(
    password: Data<PasswordChange>,
    caller: Caller,
    _: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let (_, user, session) = caller.person()?;
    let ChangePasswordRequest { current_password, new_password } = body::read(&body)?;
    password.change(user, session, current_password.0, new_password.0).await?;
    Ok(HttpResponse::NoContent().finish())
}
