//! The people and programs of a business, and how they come in.

pub mod api_keys;
pub mod forms;
pub mod http;
pub mod memberships;
pub mod passwords;
pub mod people;
mod sessions;
pub mod sign_in;
mod throttle;
pub mod users;
