//! API keys: credentials for programs. A key is shown once, when it is issued; the database stores only its SHA-256.
//!
//! [`definition`] is the resource with its validation, [`writes`] how it is written, [`store`] generates and stores
//! keys, [`rotation`] replaces the secret of one.

mod definition;
pub(super) mod rotation;
mod store;
mod writes;

pub use self::definition::API_KEYS;
pub use self::rotation::routes;
pub use self::store::{Limits, generate, insert};
pub use self::writes::WRITES;
