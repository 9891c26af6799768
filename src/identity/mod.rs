//! The people and programs of a business, and how they come in.

pub mod api_keys;
mod by_mail;
pub mod forms;
pub mod http;
pub mod invitations;
mod joining;
mod letters;
pub mod memberships;
pub mod oidc;
pub mod passwords;
pub mod people;
mod resets;
pub mod sessions;
pub mod sign_in;
mod throttle;
pub mod users;
