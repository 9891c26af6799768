//! HTTP handlers of sign-in with OpenID Connect, `/auth/oidc`.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::login::{LoginResponse, OidcLogin};
use crate::base::error::Result;
use crate::http::openapi_problems::{BodyProblems, Conflict, Forbidden, NotFound, ServiceProblems, Unauthorized};
use crate::http::routing;
use crate::identity::credential_response::credential_response;
use crate::identity::device::Device;
use crate::identity::requests::CompleteOidcSignInRequest;
use crate::identity::responses::{OidcAuthorization, SignedIn};
use crate::resource::body::{self, NoBody};

pub fn routes(api: &mut ServiceConfig) {
    routing::resource("/auth/oidc/authorizations").open(Method::POST, begin_login).register(api);
    routing::resource("/auth/oidc/sessions").open(Method::POST, complete_login).register(api);
}

#[utoipa::path(
    post,
    path = "/api/v1/auth/oidc/authorizations",
    tag = "auth",
    operation_id = "beginOidcSignIn",
    summary = "Begin to sign in with an identity provider",
    description = "Answers with the provider's address to send the browser to (OpenID Connect, authorization code with PKCE). \
                   The provider sends it back to the front end's page for it with `code` and `state`. 404 where no provider \
                   is configured. Takes no body.",
    security(()),
    responses(
        (status = 201, description = "Done.", body = OidcAuthorization),
        (status = 404, response = NotFound),
        BodyProblems,
        ServiceProblems,
    )
)]
async fn begin_login(login: Data<OidcLogin>, _: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let NoBody {} = body::read(&body)?;
    Ok(credential_response(HttpResponse::Created(), &login.begin_login().await?))
}

#[utoipa::path(
    post,
    path = "/api/v1/auth/oidc/sessions",
    tag = "auth",
    operation_id = "completeOidcSignIn",
    summary = "Sign in with what an identity provider sent back",
    description = "Counts once. The person whom the provider names is recognised by its name for them, the first time by \
                   the e-mail address that it has verified. Answers like signing in with a password.",
    security(()),
    request_body = CompleteOidcSignInRequest,
    responses(
        (status = 201, description = "Done.", body = SignedIn),
        (status = 401, response = Unauthorized),
        (status = 403, response = Forbidden),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        BodyProblems,
        ServiceProblems,
    )
)]
async fn complete_login(login: Data<OidcLogin>, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let CompleteOidcSignInRequest { code, state, secret, business } = body::read(&body)?;
    let response = LoginResponse { code: code.0, state: state.0, secret: secret.0 };
    let business = business.as_ref().map(|slug| slug.0.as_str());
    let session = login.complete_login(response, business, Device::of(&request)).await?;
    Ok(credential_response(HttpResponse::Created(), &session))
}
