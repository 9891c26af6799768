//! Authenticates API keys and access tokens: looks a credential up once and then trusts it as long as validation rounds
//! find it unchanged.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use super::args::CredentialArgs;
use super::credential_lookup::{USE_NOTED_EVERY, look_up, record_use};
use super::identity::{Credential, Hash, Identity, Principal, hash};
use super::token::{self, Tokens};
use super::token_source::TokenSource;
use crate::base::error::{Error, Result};
use crate::cache::{Cache, Round};
use crate::db::Db;

/// Maximum number of remembered credentials, valid and invalid; beyond it, invalid ones are dropped first.
const MAX_ENTRIES: usize = 10_000;

struct Entry {
    until: Instant,
    /// `None`: no such credential, so that guessing does not load the database.
    identity: Option<Arc<Identity>>,
}

pub struct Authenticator {
    db: Db,
    trust: Duration,
    cache: Option<Arc<Cache>>,
    known: RwLock<HashMap<Hash, Entry>>,
    tokens: TokenSource,
}

impl Authenticator {
    /// With a cache a credential is validated with every request, in the round that validates the response. Without one
    /// a verified credential is trusted for `credential_cache_ms`, so a revoked one works that long. In both cases an
    /// invalid one is not looked up again for that long.
    pub fn new(db: Db, cache: Option<Arc<Cache>>, args: &CredentialArgs) -> Self {
        let trust = Duration::from_millis(args.credential_cache_ms);
        Self { db, trust, cache, known: RwLock::default(), tokens: TokenSource::new(args) }
    }

    /// Returns what issues and verifies access tokens. Errors: 503 when their secret cannot be read.
    pub async fn tokens(&self) -> Result<&Tokens> {
        self.tokens.tokens(&self.db).await
    }

    /// Returns what is remembered of the credential of this hash. With a cache the identity is yet to be confirmed.
    /// Errors: 401.
    pub fn known(&self, hash: &Hash) -> Option<Result<Arc<Identity>>> {
        let known = self.known.read();
        let entry = known.get(hash)?;
        match &entry.identity {
            Some(identity) if identity.has_ended() => match identity.principal {
                Principal::User { .. } => Some(Err(Error::expired())),
                // Its expiry may have been extended meanwhile: it is looked up again, like an invalid one.
                Principal::Key(_) => (entry.until > Instant::now()).then_some(Err(Error::Unauthenticated)),
            },
            Some(identity) if self.cache.is_some() || entry.until > Instant::now() => Some(Ok(identity.clone())),
            None if entry.until > Instant::now() => Some(Err(Error::Unauthenticated)),
            _ => None,
        }
    }

    /// Parses the credential `text`: verifies a token's signature and expiry; only hashes a key. Errors: 401; 503.
    pub async fn read(&self, text: &str) -> Result<Credential> {
        let hash = hash(text);
        if !token::is_token(text) {
            return Ok(Credential::Key(hash));
        }
        let (claims, left) = self.tokens().await?.read(text)?;
        Ok(Credential::Token(hash, claims, left))
    }

    /// Looks up the identity of `credential`. Errors: 401.
    pub async fn identify(&self, credential: Credential) -> Result<Arc<Identity>> {
        let base = match self.cache.as_ref().filter(|cache| !cache.is_bypassed()) {
            // Where it fails, the lookup says why, or the confirmation does.
            Some(cache) => cache.round().await.ok(),
            None => None,
        };
        let identity = look_up(self.db.clone(), credential).await?;
        self.remembered(credential.hash(), identity.map(|identity| Identity { base, ..identity }))
    }

    /// Returns the remembered identity of the credential of `hash`, which identified `before`, or looks it up. With a
    /// cache it is yet to be confirmed. Errors: 401.
    pub async fn revalidate(&self, hash: Hash, before: &Identity) -> Result<Arc<Identity>> {
        match self.known(&hash) {
            Some(known) => known,
            None => self.identify(before.credential(hash)).await,
        }
    }

    /// Confirms `claimed` for a request that joined `round`. Returns `None` if nothing has changed, else the current
    /// identity. Errors: 401 when it is no longer valid.
    pub async fn confirm(&self, hash: Hash, claimed: &Identity, round: &Arc<Round>) -> Result<Option<Arc<Identity>>> {
        if self.cache.as_ref().is_some_and(|cache| claimed.is_current(cache)) {
            self.note_use(claimed);
            return Ok(None);
        }
        let found = Box::pin(look_up(self.db.clone(), claimed.credential(hash))).await?;
        let base = Some(round.clone());
        let identity = self.remembered(hash, found.map(|found| Identity { base, ..found }))?;
        self.note_use(&identity);
        Ok(Some(identity))
    }

    /// Looks up the credential of `hash`, which identified `before`, in the database, ignoring what is remembered.
    /// Errors: 401.
    pub async fn look_up_again(&self, hash: Hash, before: &Identity) -> Result<Arc<Identity>> {
        let found = look_up(self.db.clone(), before.credential(hash)).await?;
        self.note_use(before);
        self.remembered(hash, found)
    }

    fn note_use(&self, identity: &Identity) {
        let mut noted = identity.noted.lock();
        if noted.is_none_or(|noted| noted.elapsed() > USE_NOTED_EVERY) {
            *noted = Some(Instant::now());
            record_use(self.db.clone(), identity.settings.id, identity.principal);
        }
    }

    /// Returns the cache whose validation rounds confirm identities.
    pub fn cache(&self) -> Option<&Arc<Cache>> {
        self.cache.as_ref()
    }

    fn remembered(&self, hash: Hash, identity: Option<Identity>) -> Result<Arc<Identity>> {
        let identity = identity.map(Arc::new);
        if let (Some(identity), None) = (&identity, &self.cache) {
            self.note_use(identity);
        }
        self.remember(hash, identity.clone());
        identity.ok_or(Error::Unauthenticated)
    }

    fn remember(&self, hash: Hash, identity: Option<Arc<Identity>>) {
        let now = Instant::now();
        let mut known = self.known.write();
        if known.len() >= MAX_ENTRIES {
            make_room(&mut known);
        }
        known.insert(hash, Entry { until: now + self.trust, identity });
    }
}

/// Drops invalid and expired credentials. If most are valid, drops all: evicting a few for each new one would cost more
/// than looking all up again.
fn make_room(known: &mut HashMap<Hash, Entry>) {
    let before = known.len();
    known.retain(|_, entry| entry.identity.as_ref().is_some_and(|identity| !identity.has_ended()));
    if known.len() > before / 4 * 3 {
        known.clear();
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use uuid::Uuid;

    use super::*;
    use crate::auth::{Role, TenantSettings};

    #[test]
    fn make_room_evicts_unknown_keys_before_valid_ones() {
        let entry = |ends: Option<Option<Instant>>| {
            let identity = ends.map(|ends| Identity {
                principal: Principal::Key(Uuid::nil()),
                settings: TenantSettings::nowhere(),
                role: Role::Viewer,
                permissions: Role::Viewer.permissions(),
                restricted_to_user: None,
                ends,
                access: [].into(),
                base: None,
                noted: Mutex::new(None),
            });
            // Past its trust period, which is no reason to drop it.
            Entry { until: Instant::now(), identity: identity.map(Arc::new) }
        };
        let mut known: HashMap<Hash, Entry> =
            (0..8).map(|number| (hash(&format!("wrong {number}")), entry(None))).collect();
        known.insert(hash("ended"), entry(Some(Some(Instant::now()))));
        known.insert(hash("good"), entry(Some(None)));
        make_room(&mut known);
        assert_eq!(known.keys().collect::<Vec<_>>(), [&hash("good")]);
        make_room(&mut known);
        assert!(known.is_empty(), "room is made, whatever is there");
    }
}
