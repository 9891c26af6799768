//! Bulk operations: `POST /{resource}/bulk-operations` counts the rows that match a filter and enqueues a job that
//! changes them.
//!
//! [`request`] parses what is asked for, [`http`] accepts it, [`step`] is a step of the job: it walks the rows in id
//! order, some hundreds per step, each step as one batch ([`crate::resource::batch`]). The checkpoint is committed
//! together with the changes, so each row is changed exactly once, also when the process dies or a changed row still
//! matches the filter. Rows created after the request are left out.

mod dto;
mod http;
pub mod openapi;
mod request;
mod step;

pub use self::http::routes;
pub use self::step::BULK;
