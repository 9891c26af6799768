//! Seals secrets with keys that are not in the database, so that a dump of it discloses none.
//!
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), whose nonces are long enough to be random. A sealed secret is bound to
//! what it belongs to: moved to another channel, it does not open.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use crate::auth::random;
use crate::base::error::{Error, Result};
use crate::base::options::Secret;

/// The layout of what is sealed: this byte, the nonce, the ciphertext with its tag.
const LAYOUT: u8 = 1;
const NONCE_BYTES: usize = 24;
/// File of the key in the state folder.
const KEY_FILE: &str = "sealing.key";

/// The keys of an installation: the first seals, all open.
#[derive(Clone)]
pub struct SealingKeys(Vec<XChaCha20Poly1305>);

impl SealingKeys {
    /// Parses keys in base64, separated by commas. Errors: what is wrong with them.
    pub fn parse(list: &str) -> std::result::Result<Self, String> {
        let keys = list.split(',').map(|key| {
            let bytes = STANDARD.decode(key.trim()).ok();
            bytes
                .and_then(|bytes| XChaCha20Poly1305::new_from_slice(&bytes).ok())
                .ok_or_else(|| "each key is 32 bytes in base64; make one with `openssl rand -base64 32`".to_owned())
        });
        keys.collect::<std::result::Result<_, _>>().map(Self)
    }

    /// Seals `secret`, bound to `owner`. Errors: 500 without randomness.
    pub fn seal(&self, secret: &str, owner: &[u8]) -> Result<Vec<u8>> {
        let nonce = random::<NONCE_BYTES>()?;
        let payload = Payload { msg: secret.as_bytes(), aad: owner };
        let sealed = self.0.first().and_then(|key| key.encrypt(&XNonce::from(nonce), payload).ok());
        let sealed = sealed.ok_or_else(|| Error::Internal("a secret could not be sealed".into()))?;
        Ok([&[LAYOUT], nonce.as_slice(), &sealed].concat())
    }

    /// Opens what was sealed, bound to `owner`; `None` where none of the keys does.
    pub fn open(&self, sealed: &[u8], owner: &[u8]) -> Option<Secret> {
        let (nonce, sealed) = sealed.strip_prefix(&[LAYOUT])?.split_first_chunk::<NONCE_BYTES>()?;
        let open =
            |key: &XChaCha20Poly1305| key.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: owner }).ok();
        self.0.iter().find_map(open).and_then(|bytes| String::from_utf8(bytes).ok()).map(Secret::from)
    }
}

/// Returns the key in the state folder, as [`SealingKeys::parse`] takes it, and makes it where there is none. Errors: it cannot be
/// read or written.
pub fn key_of_state_folder(folder: &Path) -> std::io::Result<Secret> {
    let path = folder.join(KEY_FILE);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(&path)?,
        read => read?,
    };
    match SealingKeys::parse(text.trim()) {
        Ok(_) => Ok(Secret::from(text.trim().to_owned())),
        Err(detail) => Err(std::io::Error::other(format!("{}: {detail}", path.display()))),
    }
}

/// Writes a new key that only this user may read, and returns it; or the one that another process wrote meanwhile.
fn make(path: &Path) -> std::io::Result<String> {
    let key = STANDARD.encode(random::<32>().map_err(std::io::Error::other)?);
    // In place at once and whole: another process never reads half a key.
    let draft = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(key.as_bytes())?;
    file.sync_all()?;
    let placed = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match placed {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => std::fs::read_to_string(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_secret_opens_with_its_key_and_owner_only() {
        let [old, new] = [1, 2].map(|byte| STANDARD.encode([byte; 32]));
        let keys = |list: &str| SealingKeys::parse(list).expect("keys");
        let opened = |list: &str, sealed: &[u8], owner: &[u8]| {
            keys(list).open(sealed, owner).map(|secret| secret.expose().to_owned())
        };
        let sealed = keys(&old).seal("EAAG…token", b"channel").expect("sealed");
        assert_eq!(opened(&format!("{new},{old}"), &sealed, b"channel").as_deref(), Some("EAAG…token"));
        assert_eq!(opened(&new, &sealed, b"channel"), None);
        assert_eq!(opened(&old, &sealed, b"other"), None);
        assert_eq!(opened(&old, &sealed[..30], b"channel"), None);
        assert_eq!(opened(&old, b"", b"channel"), None);
        assert!(SealingKeys::parse("c2hvcnQ=").is_err());
    }
}
