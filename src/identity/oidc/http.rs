//! HTTP handlers of sign-in with OpenID Connect, `/auth/oidc`.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::login::{LoginResponse, OidcLogin};
use crate::base::error::Result;
use crate::http::routing;
use crate::identity::credential_response::credential_response;
use crate::identity::device::Device;
use crate::identity::dto::COMPLETE_LOGIN;
use crate::resource::action_body::ActionBody;

pub fn routes(api: &mut ServiceConfig) {
    routing::resource("/auth/oidc/authorizations").open(Method::POST, begin_login).register(api);
    routing::resource("/auth/oidc/sessions").open(Method::POST, complete_login).register(api);
}

async fn begin_login(login: Data<OidcLogin>, _: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    ActionBody::read(&body, &[])?;
    Ok(credential_response(HttpResponse::Created(), &login.begin_login().await?))
}

async fn complete_login(login: Data<OidcLogin>, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let form = ActionBody::read(&body, &COMPLETE_LOGIN)?;
    let response =
        LoginResponse { code: form.required("code"), state: form.required("state"), secret: form.required("secret") };
    let session = login.complete_login(response, form.text("business"), Device::of(&request)).await?;
    Ok(credential_response(HttpResponse::Created(), &session))
}
