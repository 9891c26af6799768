//! The directory of channels: which channel, and so which business, something is for that came from outside. Looked up
//! once, and trusted as long as validation rounds find it unchanged.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::QueryableByName;
use diesel::pg::PgConnection;
use diesel::sql_types::{Bool, Nullable, Text, Uuid as SqlUuid};
use parking_lot::RwLock;
use uuid::Uuid;

use super::secrets::{SecretKind, SecretStore, StoredSecret};
use crate::auth::TenantSettings;
use crate::base::error::Result;
use crate::base::options::Secret;
use crate::cache::{Cache, CacheTag, Round};
use crate::db::{Db, Statement};

/// Maximum number of remembered channels, and of ids that are of none. Beyond it all are looked up again.
const MAX_ENTRIES: usize = 10_000;
/// How long an id of no channel is not looked up again, so that guessing does not load the database; and how long a
/// secret is not read again from its file.
const TRUST: Duration = Duration::from_secs(5);

/// Begins what stands for the number of a loopback: a number of WhatsApp has only digits.
const LOOPBACK_PREFIX: &str = "loopback:";

/// What names a channel from outside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ChannelKey {
    /// The id of its phone number.
    Number(String),
    /// The id of its account, for what concerns all of that: the oldest channel of the account's only business.
    Account(String),
    /// Its own id, for what is sent through it.
    Channel { business: Uuid, id: Uuid },
}

impl ChannelKey {
    /// The loopback that stands as number in what this business has delivered to itself.
    pub fn of_loopback(business: Uuid, number: &str) -> Option<Self> {
        let id = Uuid::try_parse(number.strip_prefix(LOOPBACK_PREFIX)?).ok()?;
        Some(Self::Channel { business, id })
    }
}

/// What stands for the number of a loopback in what it delivers.
pub fn loopback_number(channel: Uuid) -> String {
    format!("{LOOPBACK_PREFIX}{channel}")
}

/// A channel as what it delivers is applied, and messages are handed to it.
pub struct ConnectedChannel {
    pub id: Uuid,
    pub business: TenantSettings,
    /// `whatsapp` or `loopback`.
    pub kind: String,
    pub phone_number_id: Option<String>,
    pub account_id: Option<String>,
    pub portfolio_id: Option<String>,
    pub creates_leads: bool,
    /// Those that sign what it delivers.
    pub app_secrets: Vec<Secret>,
    /// The newest one that opens.
    pub access_token: Option<Secret>,
}

#[derive(Clone)]
struct Entry {
    channel: Arc<ConnectedChannel>,
    tags: Arc<[CacheTag]>,
    /// The round before the lookup; `None` without a cache.
    base: Option<Arc<Round>>,
    /// Until when it is trusted without being validated.
    until: Instant,
    /// Whether a secret came from a file, which no round watches.
    has_files: bool,
}

/// Finds channels; shared by the process.
pub struct ChannelDirectory {
    db: Db,
    cache: Option<Arc<Cache>>,
    secrets: SecretStore,
    /// How long a channel is trusted where there is no cache.
    trust: Duration,
    known: RwLock<HashMap<ChannelKey, Entry>>,
    /// Ids of no channel: apart, so that made-up ones drive no channel out.
    unknown: RwLock<HashMap<ChannelKey, Instant>>,
}

impl ChannelDirectory {
    pub fn new(db: Db, cache: Option<Arc<Cache>>, secrets: SecretStore, trust: Duration) -> Self {
        Self { db, cache, secrets, trust, known: RwLock::default(), unknown: RwLock::default() }
    }

    /// Returns the channel of `key`, from memory where a validation round that began after this call finds it unchanged.
    /// An id of no channel is remembered for 5 seconds. Errors: 503.
    pub async fn find(&self, key: &ChannelKey) -> Result<Option<Arc<ConnectedChannel>>> {
        if self.is_unknown(key) {
            return Ok(None);
        }
        let known = self.known.read().get(key).cloned();
        let Some(entry) = known else { return self.look_up(key).await };
        let is_recent = entry.until > Instant::now();
        match (&self.cache, &entry.base) {
            (Some(cache), Some(base)) if (is_recent || !entry.has_files) && !cache.is_bypassed() => {
                cache.round().await?;
                match cache.is_current(&entry.tags, base) {
                    true => Ok(Some(entry.channel)),
                    false => self.look_up(key).await,
                }
            }
            (None, _) if is_recent => Ok(Some(entry.channel)),
            _ => self.look_up(key).await,
        }
    }

    /// Whether `key` was found to be of no channel, within the last 5 seconds.
    fn is_unknown(&self, key: &ChannelKey) -> bool {
        self.unknown.read().get(key).is_some_and(|until| *until > Instant::now())
    }

    /// Whether finding `key` takes a question to the database.
    pub fn is_new(&self, key: &ChannelKey) -> bool {
        !self.is_unknown(key) && !self.known.read().contains_key(key)
    }

    /// Returns what [`Self::find`] does, but asks the database about an id that was of no channel a moment ago. Errors: 503.
    pub async fn find_anew(&self, key: &ChannelKey) -> Result<Option<Arc<ConnectedChannel>>> {
        if self.is_unknown(key) { self.look_up(key).await } else { self.find(key).await }
    }

    /// Looks the channel of `key` up in the database, whatever is remembered. Errors: 503.
    async fn look_up(&self, key: &ChannelKey) -> Result<Option<Arc<ConnectedChannel>>> {
        let base = match self.cache.as_ref().filter(|cache| !cache.is_bypassed()) {
            Some(cache) => cache.round().await.ok(),
            None => None,
        };
        let sql = of_key(key);
        let found = self.db.unscoped().read("channel", move |conn| load(conn, &sql)).await?;
        let Some(found) = found else {
            self.known.write().remove(key);
            remember(&self.unknown, key, Instant::now() + TRUST);
            return Ok(None);
        };
        let trust = if self.cache.is_none() { self.trust } else { TRUST };
        let entry = self.entry(found, base, Instant::now() + trust);
        let channel = entry.channel.clone();
        remember(&self.known, key, entry);
        self.unknown.write().remove(key);
        Ok(Some(channel))
    }

    fn entry(
        &self,
        (found, stored): (FoundChannel, Vec<StoredSecret>),
        base: Option<Arc<Round>>,
        until: Instant,
    ) -> Entry {
        let business = found.business.id;
        let tags = [("channels", found.id), ("channel_secrets", found.id), ("businesses", business)];
        let tags = tags.into_iter().flat_map(|(table, id)| CacheTag::rows(business, table, [id])).collect();
        let values = |kind: SecretKind| {
            let stored = stored.iter().filter(move |secret| secret.kind == kind.name());
            stored.filter_map(|secret| self.secrets.value(business, &found.slug, found.id, secret))
        };
        let (app_secrets, access_token) =
            (values(SecretKind::AppSecret).collect(), values(SecretKind::AccessToken).next());
        let channel = ConnectedChannel { app_secrets, access_token, ..found.connected() };
        let has_files = stored.iter().any(StoredSecret::is_file);
        Entry { channel: Arc::new(channel), tags, base, until, has_files }
    }

    /// Whether `token` is the verify token of a channel. Errors: 503.
    pub async fn has_verify_token(&self, token: &str) -> Result<bool> {
        let mut sql = Statement::new(
            "SELECT EXISTS (SELECT FROM channel_secrets s JOIN channels c ON c.business_id = s.business_id \
             AND c.id = s.channel_id WHERE c.deleted_at IS NULL AND s.digest = ",
        );
        sql.bind(super::secrets::digest(token)).sql(")");
        self.db.unscoped().read("verify_token", move |conn| Ok(sql.scalar(conn)?.unwrap_or(false))).await
    }
}

/// Remembers what `key` is; where too many are remembered, all are forgotten.
fn remember<T>(memory: &RwLock<HashMap<ChannelKey, T>>, key: &ChannelKey, what: T) {
    let mut memory = memory.write();
    if memory.len() >= MAX_ENTRIES {
        memory.clear();
    }
    memory.insert(key.clone(), what);
}

#[derive(QueryableByName)]
struct FoundChannel {
    #[diesel(embed)]
    business: TenantSettings,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Nullable<Text>)]
    phone_number_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    account_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    portfolio_id: Option<String>,
    #[diesel(sql_type = Bool)]
    creates_leads: bool,
    #[diesel(sql_type = Text)]
    slug: String,
}

/// The beginning of the statements that select a [`FoundChannel`].
const FOUND: &str = "SELECT c.business_id, c.id, c.kind, c.phone_number_id, c.account_id, c.portfolio_id, c.creates_leads, b.slug, b.country, b.time_zone, b.currency \
     FROM channels c JOIN businesses b ON b.id = c.business_id WHERE c.deleted_at IS NULL AND ";

/// The condition of channels found by their account: of one that several businesses name, nothing tells whose it is.
const OF_ONE_BUSINESS: &str = " AND NOT EXISTS (SELECT FROM channels o WHERE o.account_id = c.account_id \
     AND o.deleted_at IS NULL AND o.business_id <> c.business_id)";

impl FoundChannel {
    /// Returns the channel without its secrets.
    fn connected(self) -> ConnectedChannel {
        let Self { business, id, kind, phone_number_id, account_id, portfolio_id, creates_leads, .. } = self;
        let (app_secrets, access_token) = (Vec::new(), None);
        ConnectedChannel {
            id,
            business,
            kind,
            phone_number_id,
            account_id,
            portfolio_id,
            creates_leads,
            app_secrets,
            access_token,
        }
    }
}

/// Returns a channel of a business by its id, without its secrets.
pub fn connected(conn: &mut PgConnection, business: Uuid, id: Uuid) -> Result<Option<ConnectedChannel>> {
    let mut sql = Statement::new(FOUND);
    let found = sql.sql("c.business_id = ").bind(business).sql(" AND c.id = ").bind(id).first::<FoundChannel>(conn)?;
    Ok(found.map(FoundChannel::connected))
}

/// Whether one of these names a channel. Queries: one.
pub fn any_exists(conn: &mut PgConnection, keys: &[ChannelKey]) -> Result<bool> {
    let (mut numbers, mut accounts) = (Vec::new(), Vec::new());
    for key in keys {
        match key {
            ChannelKey::Number(number) => numbers.push(number.clone()),
            ChannelKey::Account(account) => accounts.push(account.clone()),
            // What a loopback says of a channel that is gone stays unclaimed.
            ChannelKey::Channel { .. } => {}
        }
    }
    let mut sql = Statement::new("SELECT EXISTS (");
    sql.sql(FOUND)
        .sql("c.kind = 'whatsapp' AND (c.phone_number_id = ANY(")
        .bind(numbers)
        .sql(") OR c.account_id = ANY(")
        .bind(accounts);
    sql.sql(")").sql(OF_ONE_BUSINESS).sql("))");
    Ok(sql.scalar(conn)?.unwrap_or(false))
}

/// Selects the [`FoundChannel`] of a key. Without a tenant: the result determines the tenant.
fn of_key(key: &ChannelKey) -> Statement {
    let mut sql = Statement::new(FOUND);
    match key {
        ChannelKey::Number(number) => sql.sql("c.kind = 'whatsapp' AND c.phone_number_id = ").bind(number),
        ChannelKey::Channel { business, id } => {
            sql.sql("c.business_id = ").bind(*business).sql(" AND c.id = ").bind(*id)
        }
        ChannelKey::Account(account) => sql
            .sql("c.kind = 'whatsapp' AND c.account_id = ")
            .bind(account)
            .sql(OF_ONE_BUSINESS)
            .sql(" ORDER BY c.created_at, c.id LIMIT 1"),
    };
    sql
}

fn load(conn: &mut PgConnection, sql: &Statement) -> Result<Option<(FoundChannel, Vec<StoredSecret>)>> {
    let Some(found) = sql.first::<FoundChannel>(conn)? else { return Ok(None) };
    let mut secrets = Statement::new("SELECT kind, sealed, file_name FROM channel_secrets WHERE business_id = ");
    secrets.bind(found.business.id).sql(" AND channel_id = ").bind(found.id).sql(" ORDER BY created_at DESC, id DESC");
    let stored = secrets.load(conn)?;
    Ok(Some((found, stored)))
}
