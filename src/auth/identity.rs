//! Credentials as requests present them, and the identities behind them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::roles::{Permissions, Role};
use super::tenant_settings::TenantSettings;
use super::token::SessionClaims;
use crate::cache::{Cache, CacheTag, Round};

/// The authenticated principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A program, by the id of its API key.
    Key(Uuid),
    /// A signed-in user.
    User { id: Uuid, session: Uuid },
}

impl Principal {
    /// Returns the user's id; `None`: an API key.
    pub fn user(self) -> Option<Uuid> {
        if let Self::User { id, .. } = self { Some(id) } else { None }
    }
}

/// The identity behind a valid credential.
#[derive(Debug)]
pub struct Identity {
    pub principal: Principal,
    pub settings: TenantSettings,
    pub role: Role,
    pub permissions: Permissions,
    /// The user whose own leads and conversations are all that it may see; `None`: no such restriction.
    pub restricted_to_user: Option<Uuid>,
    /// When the credential expires.
    pub(super) ends: Option<Instant>,
    /// Cache tags of the rows that this identity depends on.
    pub(super) access: Arc<[CacheTag]>,
    /// The validation round after which it was looked up; only with a cache.
    pub(super) base: Option<Arc<Round>>,
    /// When its use was last recorded; `None`: longer ago than an `Instant` can express.
    pub(super) noted: Mutex<Option<Instant>>,
}

impl Identity {
    pub(super) fn has_ended(&self) -> bool {
        self.ends.is_some_and(|ends| ends <= Instant::now())
    }

    /// Returns the credential of this hash, which identified it.
    pub(super) fn credential(&self, hash: Hash) -> Credential {
        match self.principal {
            Principal::Key(_) => Credential::Key(hash),
            Principal::User { id, session } => {
                let left = self.ends.map_or(Duration::ZERO, |ends| ends.saturating_duration_since(Instant::now()));
                Credential::Token(hash, SessionClaims { business: self.settings.id, session, user: id }, left)
            }
        }
    }

    /// Whether it has the same principal, business, role, permissions and restriction as `other`.
    pub fn is_as(&self, other: &Self) -> bool {
        let all = |one: &Self| (one.principal, one.settings.id, one.role, one.permissions, one.restricted_to_user);
        all(self) == all(other)
    }

    /// Whether no validation round up to now has found a change of it.
    pub(super) fn is_current(&self, cache: &Cache) -> bool {
        self.base.as_ref().is_some_and(|base| cache.is_current(&self.access, base))
    }
}

/// SHA-256 of a credential.
pub type Hash = [u8; 32];

/// A credential as a request presents it.
#[derive(Clone, Copy, Debug)]
pub enum Credential {
    Key(Hash),
    /// A token with a valid signature, and its remaining lifetime.
    Token(Hash, SessionClaims, Duration),
}

impl Credential {
    pub(super) fn hash(&self) -> Hash {
        match self {
            Self::Key(hash) | Self::Token(hash, ..) => *hash,
        }
    }
}

/// Returns the SHA-256 of a whole credential.
pub fn hash(credential: &str) -> Hash {
    Sha256::digest(credential.as_bytes()).into()
}
