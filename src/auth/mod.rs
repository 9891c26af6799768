//! Who is asking and what they may do: verified credentials, roles, and the tenant that comes of both.

mod keyring;
mod roles;
mod tenant;
mod token;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore;
use rand::rngs::OsRng;

use crate::error::{Error, Result};

pub use keyring::{Credential, Hash, Identity, Keyring, Principal, hash};
pub use roles::{Action, Area, Permissions, Role};
pub use tenant::{Business, Tenant};
pub use token::{Ticket, Tokens};

/// Random bytes from the operating system, for secrets. Errors: 500.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).map_err(|error| Error::Internal(format!("no randomness: {error}")))?;
    Ok(bytes)
}

/// A new secret to be handed out: `prefix`, by which people tell its kind, and 256 random bits. Errors: 500.
pub fn secret(prefix: &str) -> Result<String> {
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random::<32>()?)))
}
