//! OpenAPI description of the probes and of the operators' endpoints.

use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::{cache, health};
use crate::resource::openapi;

#[derive(utoipa::OpenApi)]
#[openapi(paths(
    health::health,
    health::liveness,
    health::readiness,
    health::startup,
    health::detailed,
    cache::statistics,
    cache::purge,
))]
struct MonitoringApi;

/// Adds the operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    openapi::merge(api, MonitoringApi::openapi());
}
