//! Credentials verified: API keys and access tokens, looked up once and then trusted as long as a validation round says
//! that nothing has changed about them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::token::{self, Ticket, Tokens};
use super::{Permissions, Role};
use crate::auth::Business;
use crate::cache::{Cache, Scope, Stamp};
use crate::config::{Config, Secret};
use crate::db::{Db, Statement, Value};
use crate::error::{Error, Result};
use crate::jobs::detach;
use crate::ops::log_limiter::LogLimiter;

/// Entries kept, good and bad; past it, those that let nobody in go first.
const MOST_ENTRIES: usize = 10_000;
/// `last_used_at` is written at most this often for a key.
const USED_EVERY: Duration = Duration::from_secs(60);

/// Who is calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A program, by the id of its API key.
    Key(Uuid),
    /// A person, signed in.
    User { id: Uuid, session: Uuid },
}

/// What a good credential says.
#[derive(Debug)]
pub struct Identity {
    pub principal: Principal,
    pub business: Business,
    pub role: Role,
    pub permissions: Permissions,
    /// The person whose own leads and conversations are all that it sees; `None`: no such limit.
    pub sees_only: Option<Uuid>,
    /// When the credential ends by itself.
    ends: Option<Instant>,
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
    fn has_ended(&self) -> bool {
        self.ends.is_some_and(|ends| ends <= Instant::now())
    }

    /// The credential of this hash, which spoke for it.
    fn credential(&self, hash: Hash) -> Credential {
        match self.principal {
            Principal::Key(_) => Credential::Key(hash),
            Principal::User { id, session } => {
                let left = self.ends.map_or(Duration::ZERO, |ends| ends.saturating_duration_since(Instant::now()));
                Credential::Token(hash, Ticket { business: self.business.id, session, user: id }, left)
            }
        }
    }

    /// Whether it may do and see the same as `other`.
    pub fn is_as(&self, other: &Self) -> bool {
        let all = |one: &Self| (one.principal, one.business.id, one.role, one.permissions, one.sees_only);
        all(self) == all(other)
    }

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

/// SHA-256 of a credential.
pub type Hash = [u8; 32];

/// What a request brought.
#[derive(Clone, Copy, Debug)]
pub enum Credential {
    Key(Hash),
    /// A token whose signature is good, and how long it counts.
    Token(Hash, Ticket, Duration),
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
    /// `None`: no such key, so that guessing costs the database nothing.
    identity: Option<Arc<Identity>>,
}

pub struct Keyring {
    db: Db,
    trust: Duration,
    cache: Option<Arc<Cache>>,
    known: RwLock<HashMap<Hash, Entry>>,
    tokens: TokenSource,
}

/// Where the secret of access tokens is from.
struct TokenSource {
    configured: Option<Secret>,
    life: Duration,
    made: tokio::sync::OnceCell<Tokens>,
}

impl Keyring {
    /// With a cache a credential is validated with every request, in the round that validates the answer. Without one
    /// `key_trust_ms` is how long a verified one is believed, and so how long a revoked one can still be used. In both
    /// cases it is how long a wrong key is not looked up again.
    pub fn new(db: Db, cache: Option<Arc<Cache>>, config: &Config) -> Self {
        let tokens = TokenSource {
            configured: config.token_secret.clone(),
            life: Duration::from_secs(config.token_seconds),
            made: tokio::sync::OnceCell::new(),
        };
        let trust = Duration::from_millis(config.key_trust_ms);
        Self { db, trust, cache, known: RwLock::default(), tokens }
    }

    /// Makes and reads access tokens. Unless it is configured, their secret is made once and kept in the database, so that
    /// all replicas share it. Errors: 503 when it cannot be read.
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
            .across()
            .write("token_secret", move |tx| {
                let mut sql = Statement::new("INSERT INTO service_secrets (name, secret) VALUES ('access tokens', ");
                sql.bind(Value::Bytes(made.to_vec())).push(") ON CONFLICT (name) DO NOTHING").run(tx)?;
                let row = Statement::new("SELECT secret FROM service_secrets WHERE name = 'access tokens'").row(tx)?;
                let secret = row.as_ref().and_then(|row| row.get(0)).map(<[u8]>::to_vec);
                secret.ok_or_else(|| Error::Internal("the secret of access tokens is gone".into()))
            })
            .await
    }

    /// Whom the credential of this hash speaks for, as far as is known here. With a cache that is still to be confirmed.
    /// Errors: 401.
    pub fn known(&self, hash: &Hash) -> Option<Result<Arc<Identity>>> {
        let known = self.known.read();
        let entry = known.get(hash)?;
        match &entry.identity {
            Some(identity) if identity.has_ended() => match identity.principal {
                Principal::User { .. } => Some(Err(Error::expired())),
                // Its end may have been put off meanwhile: it is looked up again, as a wrong one is.
                Principal::Key(_) => (entry.until > Instant::now()).then_some(Err(Error::Unauthenticated)),
            },
            Some(identity) if self.cache.is_some() || entry.until > Instant::now() => Some(Ok(identity.clone())),
            None if entry.until > Instant::now() => Some(Err(Error::Unauthenticated)),
            _ => None,
        }
    }

    /// Reads the credential `text`: a token's signature and time, nothing of a key. Errors: 401.
    pub async fn read(&self, text: &str) -> Result<Credential> {
        let hash = hash(text);
        if !token::is_token(text) {
            return Ok(Credential::Key(hash));
        }
        let (ticket, left) = self.tokens().await?.read(text)?;
        Ok(Credential::Token(hash, ticket, left))
    }

    /// Whom `credential` speaks for. Errors: 401.
    pub async fn identify(&self, credential: Credential) -> Result<Arc<Identity>> {
        let mut identity = self.look_up(credential).await?;
        if let (Some(cache), Some(first)) = (self.cache.as_ref().filter(|cache| !cache.is_bypassed()), &identity) {
            // Looked up again after its versions: only now is it known which to ask for.
            let seen = cache.validate(&first.access).await?;
            identity = self.look_up(credential).await?.map(|identity| identity.seen_at(&first.access, seen));
        }
        self.remembered(credential.hash(), identity)
    }

    /// Whom the credential of `hash`, which spoke for `before`, speaks for: as far as is known here, or else looked up. With a
    /// cache that is still to be confirmed. Errors: 401.
    pub async fn again(&self, hash: Hash, before: &Identity) -> Result<Arc<Identity>> {
        match self.known(&hash) {
            Some(known) => known,
            None => self.identify(before.credential(hash)).await,
        }
    }

    /// Confirms a claim by what a round of `generation` found for its [`Identity::access`]; no versions: they are those of
    /// before. `None`: it is as claimed; else whom the credential speaks for now. Errors: 401 when it is no good any more.
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
        let found = self.look_up(claimed.credential(hash)).await?;
        let identity = self.remembered(hash, found.map(|found| found.seen_at(&claimed.access, now.clone())))?;
        self.note_use(&identity);
        Ok(Some(identity))
    }

    /// Whom the credential of `hash`, which spoke for `before`, speaks for: asked of the database, whatever is known here.
    /// Errors: 401.
    pub async fn look_up_again(&self, hash: Hash, before: &Identity) -> Result<Arc<Identity>> {
        let found = self.look_up(before.credential(hash)).await?;
        self.note_use(before);
        self.remembered(hash, found)
    }

    fn note_use(&self, identity: &Identity) {
        let mut noted = identity.noted.lock();
        if noted.is_none_or(|noted| noted.elapsed() > USED_EVERY) {
            *noted = Some(Instant::now());
            used(self.db.clone(), identity.business.id, identity.principal);
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
    async fn look_up(&self, credential: Credential) -> Result<Option<Identity>> {
        let db = self.db.clone();
        // In a task of its own: it is not part of what the request is charged for, and may outlive it.
        let looked_up = detach("credential", async move {
            let sql = match credential {
                Credential::Key(hash) => of_key(hash),
                Credential::Token(_, ticket, _) => of_session(ticket),
            };
            let found = db.across().read("credential", move |conn| Ok(sql.row(conn)?)).await?;
            let Some(row) = found else { return Ok(None) };
            let text = |index| row.text(index).unwrap_or_default().to_owned();
            let seconds = |index| row.int(index).map(|seconds| Duration::from_secs(seconds.max(0) as u64));
            let millis = |index| row.int(index).map(|millis| Duration::from_millis(millis.max(0) as u64));
            let (id, other) = (row.uuid(0).unwrap_or_default(), row.uuid(7).unwrap_or_default());
            let business = row.uuid(2).unwrap_or_default();
            // The business moves the versions of both, too.
            let (principal, access, left) = match credential {
                Credential::Key(_) => (Principal::Key(id), [Scope::row(business, "api_keys", id)].into(), millis(8)),
                Credential::Token(_, ticket, left) => (
                    Principal::User { id: ticket.user, session: id },
                    [Scope::row(business, "sessions", id), Scope::row(business, "memberships", other)].into(),
                    Some(millis(8).map_or(left, |session| session.min(left))),
                ),
            };
            let role = Role::named(&text(1)).ok_or_else(|| Error::Internal("a credential of no known role".into()))?;
            let limited = role == Role::Agent && text(10) == "assigned";
            let identity = Identity {
                principal,
                role,
                // What this binary does not know is not permitted.
                permissions: row.text(9).map_or(role.permissions(), |names| {
                    role.permissions().of(names.split(' ').filter_map(Permissions::named).collect())
                }),
                sees_only: if let (Principal::User { id, .. }, true) = (principal, limited) { Some(id) } else { None },
                business: Business { id: business, country: text(3), time_zone: text(4), currency: text(5) },
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
        if known.len() >= MOST_ENTRIES {
            make_room(&mut known);
        }
        known.insert(hash, Entry { until: now + self.trust, identity });
    }
}

/// Drops what lets nobody in: wrong credentials, and those that have ended. Where most of them are good, all go: dropping a
/// few for each that comes would cost more than looking all up again.
fn make_room(known: &mut HashMap<Hash, Entry>) {
    let before = known.len();
    known.retain(|_, entry| entry.identity.as_ref().is_some_and(|identity| !identity.has_ended()));
    if known.len() > before / 4 * 3 {
        known.clear();
    }
}

/// The columns that both kinds of credential are looked up with: id, role, business, its settings, seconds since the last
/// use, the membership, milliseconds until it ends by itself (rounded down: it never counts longer), its permissions if they
/// are not its role's, and what agents see.
const BUSINESS: &str = "b.id, b.country, b.time_zone, b.currency";

fn of_key(hash: Hash) -> Statement {
    let mut sql = Statement::new(format!(
        "SELECT k.id, k.role, {BUSINESS}, coalesce(extract(epoch FROM now() - k.last_used_at), 1e7)::bigint, NULL::uuid, \
         floor(1000 * extract(epoch FROM \
             least(k.expires_at, CASE WHEN k.hash <> h.hash THEN k.previous_until END) - now()))::bigint, \
         array_to_string(k.permissions, ' '), b.agents_see FROM (SELECT "
    ));
    sql.bind(Value::Bytes(hash.to_vec())).push(
        " AS hash) h JOIN api_keys k ON k.hash = h.hash OR k.previous_hash = h.hash \
         JOIN businesses b ON b.id = k.business_id",
    );
    sql
}

fn of_session(ticket: Ticket) -> Statement {
    let mut sql = Statement::new(format!(
        "SELECT s.id, m.role, {BUSINESS}, extract(epoch FROM now() - s.last_used_at)::bigint, m.id, \
         floor(1000 * extract(epoch FROM s.expires_at - now()))::bigint, NULL::text, b.agents_see \
         FROM sessions s JOIN memberships m ON m.business_id = s.business_id AND m.user_id = s.user_id \
         JOIN businesses b ON b.id = s.business_id WHERE s.business_id = "
    ));
    sql.bind(Value::Uuid(Some(ticket.business))).push(" AND s.id = ").bind(Value::Uuid(Some(ticket.session)));
    sql.push(" AND s.user_id = ").bind(Value::Uuid(Some(ticket.user)));
    sql
}

/// Notes that a credential was used, without anyone waiting for it.
fn used(db: Db, business: Uuid, principal: Principal) {
    detach("credential use", async move {
        let noted = db.across().write("credential_used", move |tx| {
            let (table, id) = match principal {
                Principal::Key(id) => ("api_keys", id),
                Principal::User { session, .. } => ("sessions", session),
            };
            let mut sql = Statement::new(format!("UPDATE {table} SET last_used_at = now() WHERE business_id = "));
            sql.bind(Value::Uuid(Some(business))).push(" AND id = ").bind(Value::Uuid(Some(id)));
            // Once, however many processes notice: each note moves the credential's version.
            sql.push(&format!(
                " AND (last_used_at < now() - interval '{} seconds' OR last_used_at IS NULL)",
                USED_EVERY.as_secs()
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

/// SHA-256 of a whole credential.
pub fn hash(credential: &str) -> Hash {
    Sha256::digest(credential.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_wrong_keys_drops_no_good_one() {
        let entry = |ends: Option<Option<Instant>>| {
            let identity = ends.map(|ends| Identity {
                principal: Principal::Key(Uuid::nil()),
                business: Business::nowhere(),
                role: Role::Viewer,
                permissions: Role::Viewer.permissions(),
                sees_only: None,
                ends,
                access: [].into(),
                seen: None,
                confirmed: AtomicU64::new(0),
                noted: Mutex::new(None),
            });
            // Long since to be validated again: with a cache that makes it no worse.
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
