//! Secrets of channels: access tokens, app secrets and verify tokens, each sealed in the database (`sealing`) or in a file
//! of the operator's. `store` keeps and opens them, `http` has the operations below `/channels/{id}/secrets`.

mod dto;
pub mod http;
mod sealing;
mod store;

pub use self::sealing::{SealingKeys, key_of_state_folder};
pub use self::store::{SecretKind, SecretStore, StoredSecret, digest};
