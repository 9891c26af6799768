//! Rights of a person: export and erasure of everything about a contact (GDPR, articles 15, 17 and 20).

pub mod args;
mod data_subject;
mod erasure;
mod export;
pub mod http;
mod settings;

pub use self::erasure::MODES;
pub use self::settings::PrivacySettings;
