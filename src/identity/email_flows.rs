//! HTTP handlers of the flows which a link in an email completes: password reset, and acceptance of an invitation.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::accept_invitation::InvitationAcceptance;
use super::credential_response::credential_response;
use super::device::Device;
use super::password_reset::PasswordReset;
use super::requests::{AcceptInvitationRequest, PasswordResetRequest, ResetPasswordRequest};
use super::responses::SignedIn;
use crate::base::error::Result;
use crate::http::openapi_problems::{BodyProblems, Forbidden, ServiceProblems, Unauthorized};
use crate::http::routing;
use crate::resource::body;

pub fn routes(api: &mut ServiceConfig) {
    routing::resource("/auth/password-resets").open(Method::POST, request_password_reset).register(api);
    routing::resource("/auth/passwords").open(Method::POST, reset_password).register(api);
    routing::resource("/auth/invitations").open(Method::POST, accept_invitation).register(api);
}

#[utoipa::path(
    post,
    path = "/api/v1/auth/password-resets",
    tag = "auth",
    operation_id = "requestPasswordReset",
    summary = "Ask for a new password",
    description = "Mails a link to a new password to the person with this address. The answer is the same whether \
                   there is someone, and so is its time. The link leads to the page `passwords` of the front end, with \
                   the token in the fragment: `/passwords#token=…`.",
    security(()),
    request_body = PasswordResetRequest,
    responses((status = 202, description = "Done."), BodyProblems, ServiceProblems)
)]
async fn request_password_reset(reset: Data<PasswordReset>, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let PasswordResetRequest { email } = body::read(&body)?;
    reset.request(&email.0, &Device::of(&request).address.unwrap_or_default())?;
    Ok(HttpResponse::Accepted().finish())
}

#[utoipa::path(
    post,
    path = "/api/v1/auth/passwords",
    tag = "auth",
    operation_id = "resetPassword",
    summary = "Choose a new password",
    description = "With the token of a mail, which counts once. Ends all sessions of the person, in every business. A token \
                   that does not count any more gets 401 `token_over`.",
    security(()),
    request_body = ResetPasswordRequest,
    responses(
        (status = 204, description = "Done."),
        (status = 401, response = Unauthorized),
        BodyProblems,
        ServiceProblems,
    )
)]
async fn reset_password(reset: Data<PasswordReset>, _: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let ResetPasswordRequest { token, password } = body::read(&body)?;
    reset.redeem(&token.0, password.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[utoipa::path(
    post,
    path = "/api/v1/auth/invitations",
    tag = "auth",
    operation_id = "acceptInvitation",
    summary = "Accept an invitation",
    description = "With the token of a mail, which counts once; its link leads to `/invitations#token=…`. Who has no password \
                   yet needs one (422 says so); who has one keeps it and sends none. Answers like signing in.",
    security(()),
    request_body = AcceptInvitationRequest,
    responses(
        (status = 201, description = "Done.", body = SignedIn),
        (status = 401, response = Unauthorized),
        (status = 403, response = Forbidden),
        BodyProblems,
        ServiceProblems,
    )
)]
async fn accept_invitation(
    acceptance: Data<InvitationAcceptance>,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse> {
    let AcceptInvitationRequest { token, password, name } = body::read(&body)?;
    let (password, name) = (password.map(|password| password.0), name.map(|name| name.0));
    let session = acceptance.accept(&token.0, password, name, Device::of(&request)).await?;
    Ok(credential_response(HttpResponse::Created(), &session))
}
