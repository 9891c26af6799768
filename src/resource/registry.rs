//! The resources of this process, for functions that cannot be handed them: hooks of resources and steps of jobs.
//!
//! The application installs the list once, before it serves. Everything that is built when the application is put
//! together (routes, OpenAPI, background tasks) takes the list as an argument instead.

use std::sync::OnceLock;

use super::Resource;

static RESOURCES: OnceLock<&'static [&'static Resource]> = OnceLock::new();

/// Installs the list of all resources. Only the first call has an effect.
pub fn install(resources: &'static [&'static Resource]) {
    let _ = RESOURCES.set(resources);
}

/// Returns all resources; none before the list was installed.
pub fn all() -> &'static [&'static Resource] {
    RESOURCES.get().copied().unwrap_or_default()
}
