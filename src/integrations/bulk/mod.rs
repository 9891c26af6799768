//! Bulk operations: `POST /{resource}/bulk-operations` counts the rows that match a filter and enqueues a job that
//! changes them.
//!
//! The job walks the rows in id order, some hundreds per step, each step as one batch ([`crate::resource::batch`]). The
//! checkpoint is committed together with the changes, so each row is changed exactly once, also when the process dies
//! or a changed row still matches the filter. Rows created after the request are left out.

mod http;
pub mod openapi;
mod request;
mod step;

pub use self::http::routes;
use self::request::BulkRequest;
use crate::app::registry::RESOURCES;
use crate::background::JobType;
use crate::resource::Resource;

/// Job type of bulk operations.
pub static BULK: JobType = JobType { name: "bulk_operation", step: step::step };

/// Resources with bulk operations: those with batch writes.
fn resources() -> impl Iterator<Item = &'static Resource> {
    RESOURCES.into_iter().filter(|resource| resource.operations.batch)
}
