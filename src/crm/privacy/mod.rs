//! Rights of a person: export and erasure of everything about a contact (GDPR, articles 15, 17 and 20).
//!
//! `data_subject.rs` finds the rows about a contact, `export.rs` returns them, `erasure.rs` empties or deletes them; `http.rs`
//! has the routes, `dto.rs` their bodies and responses.

pub mod args;
mod data_subject;
mod dto;
mod erasure;
mod export;
pub mod http;
mod settings;

pub use self::data_subject::resources;
pub use self::settings::PrivacySettings;
