//! The resources of this process, for functions that cannot be handed them: hooks of resources and steps of jobs.
//!
//! The application sets the list once, before it serves. Everything that is built when the application is put together
//! (routes, OpenAPI, background tasks) takes the list as an argument instead.

use std::sync::OnceLock;

use super::Resource;

static RESOURCES: OnceLock<&'static [&'static Resource]> = OnceLock::new();

/// Sets the list; a process has one, so a second call changes nothing.
pub fn set(resources: &'static [&'static Resource]) {
    let _ = RESOURCES.set(resources);
}

/// Returns the list; empty before it was set.
pub fn all() -> &'static [&'static Resource] {
    RESOURCES.get().copied().unwrap_or_default()
}
