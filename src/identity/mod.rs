//! The people and programs of a business, as nouns: users, memberships, API keys.

pub mod api_keys;
pub mod memberships;
pub mod users;
