//! All routes of identity which are not those of a resource.

use actix_web::web::ServiceConfig;

use super::{email_flows, http, me, oidc};

pub fn routes(api: &mut ServiceConfig) {
    me::routes(api);
    http::routes(api);
    email_flows::routes(api);
    oidc::http::routes(api);
}
