//! What a person may ask for: everything that is known about them, and that it is forgotten (GDPR, articles 15, 17 and 20).

mod erasure;
mod export;
pub mod http;
mod reach;

pub use erasure::MODES;
