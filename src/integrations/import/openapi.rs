//! OpenAPI of the import operations which are not generated from the resource definition.

use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::{error_report, http, upload};
use crate::resource::openapi;

#[derive(utoipa::OpenApi)]
#[openapi(paths(
    upload::upload,
    http::dry_run,
    http::execute,
    http::revert,
    http::get_preview,
    error_report::download,
))]
struct ImportsApi;

/// Adds these operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, ImportsApi::openapi());
}
