//! Ways in and out for other systems: events, webhooks, imports, bulk operations.

pub mod bulk;
pub mod events;
pub mod import;
pub mod webhooks;
