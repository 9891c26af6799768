//! Routes of files: the upload below `/attachments`, and the file of a message.

use actix_web::http::Method;
use actix_web::web::ServiceConfig;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::{download, upload};
use crate::http::routing::{self, Routes};
use crate::resource::openapi;

pub use super::upload::AttachmentSettings;

/// Registers the upload as the operation that creates an attachment.
pub fn creation(many: Routes) -> Routes {
    many.streams(Method::POST, upload::upload)
}

/// Registers the route below `/messages`.
pub fn of_messages(scope: &mut ServiceConfig) {
    routing::resource("/{id}/media").on(Method::GET, download::download).register(scope);
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(upload::upload, download::download))]
struct MediaApi;

/// Adds the operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, MediaApi::openapi());
}
