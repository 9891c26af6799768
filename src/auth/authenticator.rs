//! Authenticates API keys and access tokens: looks a credential up once and then trusts it as long as validation rounds
//! find it unchanged.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::args::CredentialArgs;
use super::token::{self, SessionClaims, Tokens};
use super::{Permissions, Role};
use crate::auth::TenantSettings;
use crate::base::error::{Error, Result};
use crate::base::options::Secret;
use crate::base::supervisor::detach;
use crate::base::telemetry::log_limiter::LogLimiter;
use crate::cache::{Cache, CacheTag, VersionStamp};
use crate::db::{Db, SqlValue, Statement};

/// Maximum number of remembered credentials, valid and invalid; beyond it, invalid ones are dropped first.
const MAX_ENTRIES: usize = 10_000;
/// `last_used_at` of a credential is written at most this often.
const USE_NOTED_EVERY: Duration = Duration::from_secs(60);

/// The authenticated principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A program, by the id of its API key.
    Key(Uuid),
    /// A signed-in user.
    User { id: Uuid, session: Uuid },
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
    ends: Option<Instant>,
    /// Cache tags of the rows that this identity depends on.
    access: Arc<[CacheTag]>,
    /// Version stamp of those tags, read before the identity; only with a cache.
    seen: Option<VersionStamp>,
    /// The last generation of validation rounds that found this stamp; 0: none yet.
    confirmed: AtomicU64,
    /// When its use was last recorded; `None`: longer ago than an `Instant` can express.
    noted: Mutex<Option<Instant>>,
}

impl Identity {
    fn has_ended(&self) -> bool {
        self.ends.is_some_and(|ends| ends <= Instant::now())
    }

    /// Returns the credential of this hash, which identified it.
    fn credential(&self, hash: Hash) -> Credential {
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

    pub fn access(&self) -> &Arc<[CacheTag]> {
        &self.access
    }

    /// Returns the last generation of validation rounds that confirmed it; 0: none yet.
    pub fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Relaxed)
    }

    /// Sets `stamp`, which was read before this identity, if it belongs to the same access tags.
    fn seen_at(self, access: &Arc<[CacheTag]>, stamp: VersionStamp) -> Self {
        let seen = (self.access == *access).then_some(stamp);
        Self { seen, ..self }
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
    fn hash(&self) -> Hash {
        match self {
            Self::Key(hash) | Self::Token(hash, ..) => *hash,
        }
    }
}

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

/// Source of the secret that signs access tokens.
struct TokenSource {
    configured: Option<Secret>,
    life: Duration,
    made: tokio::sync::OnceCell<Tokens>,
}

impl Authenticator {
    /// With a cache a credential is validated with every request, in the round that validates the response. Without one
    /// a verified credential is trusted for `credential_cache_ms`, so a revoked one works that long. In both cases an
    /// invalid one is not looked up again for that long.
    pub fn new(db: Db, cache: Option<Arc<Cache>>, args: &CredentialArgs) -> Self {
        let tokens = TokenSource {
            configured: args.token_secret.clone(),
            life: Duration::from_secs(args.token_seconds),
            made: tokio::sync::OnceCell::new(),
        };
        let trust = Duration::from_millis(args.credential_cache_ms);
        Self { db, trust, cache, known: RwLock::default(), tokens }
    }

    /// Returns what issues and verifies access tokens. Unless configured, their secret is generated once and stored in
    /// the database, so that all replicas share it. Errors: 503 when it cannot be read.
    pub async fn tokens(&self) -> Result<&Tokens> {
        let source = &self.tokens;
        let make = || async {
            let secret = match &source.configured {
                Some(secret) => secret.expose().as_bytes().to_vec(),
                None => self.shared_secret().await?,
            };
            Ok(Tokens::new(&secret, source.life))
        };
        source.made.get_or_try_init(make).await
    }

    async fn shared_secret(&self) -> Result<Vec<u8>> {
        let made = crate::auth::random::<32>()?;
        self.db
            .unscoped()
            .write("token_secret", move |tx| {
                let mut sql = Statement::new("INSERT INTO service_secrets (name, secret) VALUES ('access tokens', ");
                sql.bind(SqlValue::Bytes(made.to_vec())).push(") ON CONFLICT (name) DO NOTHING").run(tx)?;
                let row = Statement::new("SELECT secret FROM service_secrets WHERE name = 'access tokens'").row(tx)?;
                let secret = row.as_ref().and_then(|row| row.get(0)).map(<[u8]>::to_vec);
                secret.ok_or_else(|| Error::Internal("the secret of access tokens is gone".into()))
            })
            .await
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
        let (ticket, left) = self.tokens().await?.read(text)?;
        Ok(Credential::Token(hash, ticket, left))
    }

    /// Looks up the identity of `credential`. Errors: 401.
    pub async fn identify(&self, credential: Credential) -> Result<Arc<Identity>> {
        let mut identity = self.look_up(credential).await?;
        if let (Some(cache), Some(first)) = (self.cache.as_ref().filter(|cache| !cache.is_bypassed()), &identity) {
            // Looked up again after its versions were read: only the first lookup tells which versions to read.
            let seen = cache.validate(&first.access).await?;
            identity = self.look_up(credential).await?.map(|identity| identity.seen_at(&first.access, seen));
        }
        self.remembered(credential.hash(), identity)
    }

    /// Returns the remembered identity of the credential of `hash`, which identified `before`, or looks it up. With a
    /// cache it is yet to be confirmed. Errors: 401.
    pub async fn revalidate(&self, hash: Hash, before: &Identity) -> Result<Arc<Identity>> {
        match self.known(&hash) {
            Some(known) => known,
            None => self.identify(before.credential(hash)).await,
        }
    }

    /// Confirms `claimed` by the stamp that round `generation` found for its [`Identity::access`]; `None`: no change.
    /// Returns `None` if nothing has changed, else the current identity. Errors: 401 when it is no longer valid.
    pub async fn confirm(
        &self,
        hash: Hash,
        claimed: &Identity,
        generation: u64,
        now: Option<&VersionStamp>,
    ) -> Result<Option<Arc<Identity>>> {
        let Some(now) = now.filter(|now| claimed.seen.as_ref() != Some(now)) else {
            claimed.confirmed.fetch_max(generation, Ordering::Relaxed);
            self.note_use(claimed);
            return Ok(None);
        };
        let found = self.look_up(claimed.credential(hash)).await?;
        let identity = self.remembered(hash, found.map(|found| found.seen_at(&claimed.access, now.clone())))?;
        self.note_use(&identity);
        Ok(Some(identity))
    }

    /// Looks up the credential of `hash`, which identified `before`, in the database, ignoring what is remembered.
    /// Errors: 401.
    pub async fn look_up_again(&self, hash: Hash, before: &Identity) -> Result<Arc<Identity>> {
        let found = self.look_up(before.credential(hash)).await?;
        self.note_use(before);
        self.remembered(hash, found)
    }

    fn note_use(&self, identity: &Identity) {
        let mut noted = identity.noted.lock();
        if noted.is_none_or(|noted| noted.elapsed() > USE_NOTED_EVERY) {
            *noted = Some(Instant::now());
            used(self.db.clone(), identity.settings.id, identity.principal);
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

    /// Looks up a credential, without a tenant: the result determines the tenant.
    async fn look_up(&self, credential: Credential) -> Result<Option<Identity>> {
        let db = self.db.clone();
        // In a task of its own: its time is not charged to the request, which it may outlive.
        let looked_up = detach("credential", async move {
            let sql = match credential {
                Credential::Key(hash) => of_key(hash),
                Credential::Token(_, ticket, _) => of_session(ticket),
            };
            let found = db.unscoped().read("credential", move |conn| Ok(sql.row(conn)?)).await?;
            let Some(row) = found else { return Ok(None) };
            let text = |index| row.text(index).unwrap_or_default().to_owned();
            let seconds = |index| row.int(index).map(|seconds| Duration::from_secs(seconds.max(0) as u64));
            let millis = |index| row.int(index).map(|millis| Duration::from_millis(millis.max(0) as u64));
            let (id, other) = (row.uuid(0).unwrap_or_default(), row.uuid(7).unwrap_or_default());
            let business = row.uuid(2).unwrap_or_default();
            // A change of the business moves both versions, too.
            let (principal, access, left) = match credential {
                Credential::Key(_) => (Principal::Key(id), [CacheTag::row(business, "api_keys", id)].into(), millis(8)),
                Credential::Token(_, ticket, left) => (
                    Principal::User { id: ticket.user, session: id },
                    [CacheTag::row(business, "sessions", id), CacheTag::row(business, "memberships", other)].into(),
                    Some(millis(8).map_or(left, |session| session.min(left))),
                ),
            };
            let role = Role::named(&text(1)).ok_or_else(|| Error::Internal("a credential of no known role".into()))?;
            let limited = role == Role::Agent && text(10) == "assigned";
            let identity = Identity {
                principal,
                role,
                // Permissions unknown to this binary are not granted.
                permissions: row.text(9).map_or(role.permissions(), |names| {
                    role.permissions().of(names.split(' ').filter_map(Permissions::named).collect())
                }),
                restricted_to_user: if let (Principal::User { id, .. }, true) = (principal, limited) {
                    Some(id)
                } else {
                    None
                },
                settings: TenantSettings { id: business, country: text(3), time_zone: text(4), currency: text(5) },
                ends: left.and_then(|left| Instant::now().checked_add(left)),
                access,
                seen: None,
                confirmed: AtomicU64::new(0),
                noted: Mutex::new(Instant::now().checked_sub(seconds(6).unwrap_or_default())),
            };
            Ok(if identity.has_ended() { None } else { Some(identity) })
        });
        looked_up.outcome().await?
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

/// Business columns of both lookups, which select: id, role, business and its settings, seconds since the last use,
/// membership, milliseconds until expiry (rounded down, so never extended), permissions where they differ from the
/// role's, and the visibility of agents.
const BUSINESS: &str = "b.id, b.country, b.time_zone, b.currency";

fn of_key(hash: Hash) -> Statement {
    let mut sql = Statement::new(format!(
        "SELECT k.id, k.role, {BUSINESS}, coalesce(extract(epoch FROM now() - k.last_used_at), 1e7)::bigint, NULL::uuid, \
         floor(1000 * extract(epoch FROM \
             least(k.expires_at, CASE WHEN k.hash <> h.hash THEN k.previous_until END) - now()))::bigint, \
         array_to_string(k.permissions, ' '), b.agent_visibility FROM (SELECT "
    ));
    sql.bind(SqlValue::Bytes(hash.to_vec())).push(
        " AS hash) h JOIN api_keys k ON k.hash = h.hash OR k.previous_hash = h.hash \
         JOIN businesses b ON b.id = k.business_id",
    );
    sql
}

fn of_session(ticket: SessionClaims) -> Statement {
    let mut sql = Statement::new(format!(
        "SELECT s.id, m.role, {BUSINESS}, extract(epoch FROM now() - s.last_used_at)::bigint, m.id, \
         floor(1000 * extract(epoch FROM s.expires_at - now()))::bigint, NULL::text, b.agent_visibility \
         FROM sessions s JOIN memberships m ON m.business_id = s.business_id AND m.user_id = s.user_id \
         JOIN businesses b ON b.id = s.business_id WHERE s.business_id = "
    ));
    sql.bind(SqlValue::Uuid(Some(ticket.business))).push(" AND s.id = ").bind(SqlValue::Uuid(Some(ticket.session)));
    sql.push(" AND s.user_id = ").bind(SqlValue::Uuid(Some(ticket.user)));
    sql
}

/// Records the use of a credential without delaying the request.
fn used(db: Db, business: Uuid, principal: Principal) {
    detach("credential use", async move {
        let noted = db.unscoped().write("credential_used", move |tx| {
            let (table, id) = match principal {
                Principal::Key(id) => ("api_keys", id),
                Principal::User { session, .. } => ("sessions", session),
            };
            let mut sql = Statement::new(format!("UPDATE {table} SET last_used_at = now() WHERE business_id = "));
            sql.bind(SqlValue::Uuid(Some(business))).push(" AND id = ").bind(SqlValue::Uuid(Some(id)));
            // Only one of several processes records it: each record moves the credential's version.
            sql.push(&format!(
                " AND (last_used_at < now() - interval '{} seconds' OR last_used_at IS NULL)",
                USE_NOTED_EVERY.as_secs()
            ));
            Ok(sql.run(tx)?)
        });
        static FAILURES: LogLimiter = LogLimiter::new();
        if let Err(error) = noted.await
            && let Some(suppressed) = FAILURES.failed_with(&error)
        {
            tracing::warn!(%error, suppressed, "cannot note the use of a credential");
        }
    });
}

/// Returns the SHA-256 of a whole credential.
pub fn hash(credential: &str) -> Hash {
    Sha256::digest(credential.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

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
                seen: None,
                confirmed: AtomicU64::new(0),
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
