//! API keys verified: looked up by their hash, and trusted for a moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Role;
use crate::auth::Business;
use crate::cache::{Cache, Scope, Stamp};
use crate::db::{Db, Statement, Value};
use crate::error::{Error, Result};

/// Entries kept, good and bad; past it, the expired ones go, then all.
const MOST_ENTRIES: usize = 10_000;
/// `last_used_at` is written at most this often for a key.
const USED_EVERY: Duration = Duration::from_secs(60);

/// What a good key says.
#[derive(Debug)]
pub struct Identity {
    pub key: Uuid,
    pub business: Business,
    pub role: Role,
    /// What this depends on.
    access: Arc<[Scope]>,
    /// The versions of that, from before it was read; with a cache only.
    seen: Option<Stamp>,
    /// The last generation of rounds that found these; 0: none yet.
    confirmed: AtomicU64,
    /// When its use was last noted; `None`: longer ago than can be told.
    noted: Mutex<Option<Instant>>,
}

impl Identity {
    pub fn access(&self) -> &Arc<[Scope]> {
        &self.access
    }

    /// The last generation of rounds that confirmed it; 0: none yet.
    pub fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Relaxed)
    }

    /// Read after `stamp` was, which is of `access`.
    fn seen_at(self, access: &Arc<[Scope]>, stamp: Stamp) -> Self {
        let seen = (self.access == *access).then_some(stamp);
        Self { seen, ..self }
    }
}

/// SHA-256 of a key.
pub type Hash = [u8; 32];

struct Entry {
    until: Instant,
    /// `None`: no such key, so that guessing costs the database nothing.
    identity: Option<Arc<Identity>>,
}

pub struct Keyring {
    db: Db,
    trust: Duration,
    cache: Option<Arc<Cache>>,
    known: RwLock<HashMap<Hash, Entry>>,
}

impl Keyring {
    /// With a cache a key is validated with every request, in the round that validates the answer. Without one `trust` is
    /// how long a verified key is believed, and so how long a revoked one can still be used. In both cases it is how
    /// long a wrong one is not looked up again.
    pub fn new(db: Db, trust: Duration, cache: Option<Arc<Cache>>) -> Self {
        Self { db, trust, cache, known: RwLock::default() }
    }

    /// Whom the key of this hash speaks for, as far as is known here. With a cache that is still to be confirmed.
    /// Errors: 401.
    pub fn known(&self, hash: &Hash) -> Option<Result<Arc<Identity>>> {
        let known = self.known.read();
        let entry = known.get(hash)?;
        match &entry.identity {
            Some(identity) if self.cache.is_some() || entry.until > Instant::now() => Some(Ok(identity.clone())),
            None if entry.until > Instant::now() => Some(Err(Error::Unauthenticated)),
            _ => None,
        }
    }

    /// Whom the key of this hash speaks for. Errors: 401.
    pub async fn of_hash(&self, hash: Hash) -> Result<Arc<Identity>> {
        let mut identity = self.look_up(hash).await?;
        if let (Some(cache), Some(first)) = (&self.cache, &identity) {
            // Looked up again after its versions: only now is it known which to ask for.
            let seen = cache.validate(&first.access).await?;
            identity = self.look_up(hash).await?.map(|identity| identity.seen_at(&first.access, seen));
        }
        self.remembered(hash, identity)
    }

    /// Confirms a claim by what a round of `generation` found for its [`Identity::access`]; no versions: they are those of
    /// before. `None`: it is as claimed; else whom the key speaks for now. Errors: 401 when it is no good any more.
    pub async fn confirm(
        &self,
        hash: Hash,
        claimed: &Identity,
        generation: u64,
        now: Option<&Stamp>,
    ) -> Result<Option<Arc<Identity>>> {
        let Some(now) = now.filter(|now| claimed.seen.as_ref() != Some(now)) else {
            claimed.confirmed.fetch_max(generation, Ordering::Relaxed);
            self.note_use(claimed);
            return Ok(None);
        };
        let found = self.look_up(hash).await?;
        self.remembered(hash, found.map(|found| found.seen_at(&claimed.access, now.clone()))).map(Some)
    }

    fn note_use(&self, identity: &Identity) {
        let mut noted = identity.noted.lock();
        if noted.is_none_or(|noted| noted.elapsed() > USED_EVERY) {
            *noted = Some(Instant::now());
            used(self.db.clone(), identity.business.id, identity.key);
        }
    }

    /// The cache, with which claims are to be confirmed.
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

    /// The one query without a tenant: it is what makes one.
    async fn look_up(&self, hash: Hash) -> Result<Option<Identity>> {
        let db = self.db.clone();
        // In a task of its own: it is not part of what the request is charged for, and may outlive it.
        let looked_up = tokio::task::spawn(async move {
            let found = db
                .read("api_key", move |conn| {
                    let mut sql = Statement::new(
                        "SELECT k.id, k.role, b.id, b.country, b.time_zone, b.currency, \
                         coalesce(extract(epoch FROM now() - k.last_used_at), 1e7)::bigint \
                         FROM api_keys k JOIN businesses b ON b.id = k.business_id \
                         WHERE k.hash = ",
                    );
                    sql.bind(Value::Bytes(hash.to_vec()));
                    Ok(sql.row(conn)?)
                })
                .await?;
            let Some(row) = found else { return Ok(None) };
            let text = |index| row.text(index).unwrap_or_default().to_owned();
            let (key, business) = (row.uuid(0).unwrap_or_default(), row.uuid(2).unwrap_or_default());
            let unused = Duration::from_secs(row.int(6).unwrap_or_default().max(0) as u64);
            let identity = Identity {
                key,
                role: Role::named(&text(1)).ok_or_else(|| Error::Internal("an API key of no known role".into()))?,
                business: Business { id: business, country: text(3), time_zone: text(4), currency: text(5) },
                // The business moves its keys' versions too.
                access: [Scope::row(business, "api_keys", key)].into(),
                seen: None,
                confirmed: AtomicU64::new(0),
                noted: Mutex::new(Instant::now().checked_sub(unused)),
            };
            Ok(Some(identity))
        });
        looked_up.await.map_err(|error| Error::Internal(error.to_string()))?
    }

    fn remember(&self, hash: Hash, identity: Option<Arc<Identity>>) {
        let now = Instant::now();
        let mut known = self.known.write();
        if known.len() >= MOST_ENTRIES {
            known.retain(|_, entry| entry.until > now);
        }
        if known.len() >= MOST_ENTRIES {
            known.clear();
        }
        known.insert(hash, Entry { until: now + self.trust, identity });
    }
}

/// Notes that a key was used, without anyone waiting for it.
fn used(db: Db, business: Uuid, key: Uuid) {
    tokio::task::spawn(async move {
        let noted = db.write("api_key_used", move |tx| {
            let mut sql = Statement::new("UPDATE api_keys SET last_used_at = now() WHERE business_id = ");
            sql.bind(Value::Uuid(Some(business))).push(" AND id = ").bind(Value::Uuid(Some(key)));
            // Once, however many processes notice: each note moves the key's version.
            sql.push(&format!(
                " AND (last_used_at < now() - interval '{} seconds' OR last_used_at IS NULL)",
                USED_EVERY.as_secs()
            ));
            Ok(sql.run(tx)?)
        });
        if let Err(error) = noted.await {
            tracing::warn!(%error, "cannot note the use of an API key");
        }
    });
}

/// SHA-256 of the whole key.
pub fn hash(key: &str) -> Hash {
    Sha256::digest(key.as_bytes()).into()
}
