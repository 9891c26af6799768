//! Ways in and out for other systems: events, webhooks, imports, bulk operations, and the jobs that the last two start.

pub mod bulk;
pub mod events;
pub mod import;
pub mod jobs;
pub mod webhooks;
