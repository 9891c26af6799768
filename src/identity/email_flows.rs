//! HTTP handlers of the flows which a link in an email completes: password reset, and acceptance of an invitation.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::accept_invitation::InvitationAcceptance;
use super::credential_response::credential_response;
use super::device::Device;
use super::dto::{INVITATION_ACCEPTANCE, PASSWORD_RESET, PASSWORD_RESET_REQUEST};
use super::password_reset::PasswordReset;
use crate::base::error::Result;
use crate::http::routing;
use crate::resource::action_body::ActionBody;

pub fn routes(api: &mut ServiceConfig) {
    routing::resource("/auth/password-resets").open(Method::POST, request_password_reset).register(api);
    routing::resource("/auth/passwords").open(Method::POST, reset_password).register(api);
    routing::resource("/auth/invitations").open(Method::POST, accept_invitation).register(api);
}

async fn request_password_reset(reset: Data<PasswordReset>, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let email = ActionBody::read(&body, &PASSWORD_RESET_REQUEST)?.required("email");
    reset.request(&email, &Device::of(&request).address.unwrap_or_default())?;
    Ok(HttpResponse::Accepted().finish())
}

async fn reset_password(reset: Data<PasswordReset>, _: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let form = ActionBody::read(&body, &PASSWORD_RESET)?;
    reset.redeem(&form.required("token"), form.required("password")).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn accept_invitation(
    acceptance: Data<InvitationAcceptance>,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let form = ActionBody::read(&body, &INVITATION_ACCEPTANCE)?;
    let given = |name| form.text(name).map(str::to_owned);
    let (token, device) = (form.required("token"), Device::of(&request));
    let session = acceptance.accept(&token, given("password"), given("name"), device).await?;
    Ok(credential_response(HttpResponse::Created(), &session))
}
