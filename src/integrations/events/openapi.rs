//! OpenAPI description of `GET /events` and `GET /events/stream`.

use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::{http, parameters};
use crate::resource::openapi;

#[derive(utoipa::OpenApi)]
#[openapi(paths(http::list, http::stream))]
struct EventsApi;

/// Adds both operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    let schemas = parameters::schemas().map(|(name, schema)| (name.to_owned(), schema));
    api.components.get_or_insert_default().schemas.extend(schemas);
    openapi::merge(api, EventsApi::openapi());
}
