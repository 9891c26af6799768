//! OpenAPI of sign-in, `/me` and the rotation of API keys: the operations which are not generated from a resource.

use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::{api_keys, email_flows, http, me, oidc};
use crate::resource::openapi;

#[derive(utoipa::OpenApi)]
#[openapi(paths(
    me::me,
    http::sign_in,
    http::list_sessions,
    http::sign_out,
    http::renew,
    http::change_password,
    api_keys::rotation::rotate,
    email_flows::request_password_reset,
    email_flows::reset_password,
    email_flows::accept_invitation,
    oidc::http::begin_login,
    oidc::http::complete_login,
))]
struct IdentityApi;

/// Adds these operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, IdentityApi::openapi());
}
