//! Ways in and out for other systems: events, webhooks, imports, bulk operations, and the jobs that the last two start; the people of
//! other systems.

pub mod bulk;
pub mod events;
pub mod external_users;
pub mod import;
pub mod jobs;
pub mod webhooks;
