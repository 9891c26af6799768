//! API keys verified: looked up by their hash, and trusted for a moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Role;
use crate::auth::Business;
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
    known: RwLock<HashMap<Hash, Entry>>,
}

impl Keyring {
    /// `trust` is how long a verified key is believed, and so how long a revoked one can still be used.
    pub fn new(db: Db, trust: Duration) -> Self {
        Self { db, trust, known: RwLock::default() }
    }

    /// Whom the key of this hash speaks for, if it was verified a moment ago. Errors: 401.
    pub fn known(&self, hash: &Hash) -> Option<Result<Arc<Identity>>> {
        let known = self.known.read();
        let entry = known.get(hash).filter(|entry| entry.until > Instant::now())?;
        Some(entry.identity.clone().ok_or(Error::Unauthenticated))
    }

    /// Whom the key of this hash speaks for. Errors: 401.
    pub async fn of_hash(&self, hash: Hash) -> Result<Arc<Identity>> {
        let identity = self.look_up(hash).await?.map(Arc::new);
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
                         coalesce(extract(epoch FROM now() - k.last_used_at), 1e9)::bigint \
                         FROM api_keys k JOIN businesses b ON b.id = k.business_id \
                         WHERE k.hash = ",
                    );
                    sql.bind(Value::Bytes(hash.to_vec()));
                    Ok(sql.row(conn)?)
                })
                .await?;
            let Some(row) = found else { return Ok(None) };
            let text = |index| row.text(index).unwrap_or_default().to_owned();
            let identity = Identity {
                key: row.uuid(0).unwrap_or_default(),
                role: Role::named(&text(1)).ok_or_else(|| Error::Internal("an API key of no known role".into()))?,
                business: Business {
                    id: row.uuid(2).unwrap_or_default(),
                    country: text(3),
                    time_zone: text(4),
                    currency: text(5),
                },
            };
            if row.int(6).unwrap_or_default() > USED_EVERY.as_secs() as i64 {
                used(db, identity.business.id, identity.key);
            }
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
