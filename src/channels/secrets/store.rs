//! Storage of secrets of channels, and where their values come from.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::pg::PgConnection;
use diesel::sql_types::{Binary, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::sealing::SealingKeys;
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::base::options::Secret;
use crate::base::timestamp;
use crate::channels::args::MAX_SECRET_LEN;
use crate::channels::channels::CHANNELS;
use crate::db::{Statement, Tx};
use crate::resource::select;

/// Secrets of one kind that a channel may have: two while one is rotated, and some that were forgotten.
const MAX_EACH: i64 = 4;

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    AccessToken,
    AppSecret,
    VerifyToken,
}

impl SecretKind {
    pub const NAMES: &'static [&'static str] = &["access_token", "app_secret", "verify_token"];

    pub fn name(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::AppSecret => "app_secret",
            Self::VerifyToken => "verify_token",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        [Self::AccessToken, Self::AppSecret, Self::VerifyToken].into_iter().find(|kind| kind.name() == name)
    }
}

/// A secret of a channel, without its value.
#[derive(QueryableByName, Serialize, ToSchema)]
#[schema(examples(json!({ "id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71", "kind": "app_secret", "file": null,
    "created_at": "2026-11-20T09:30:00.000000Z" })))]
pub struct ChannelSecret {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// What it is for.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The file that it is read from; null where it is sealed in the database.
    #[diesel(sql_type = Nullable<Text>)]
    #[diesel(column_name = file_name)]
    #[schema(required = true)]
    pub file: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    #[serde(serialize_with = "timestamp::serialize")]
    pub created_at: DateTime<Utc>,
}

/// Where the value of a secret is.
#[derive(QueryableByName)]
pub struct StoredSecret {
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Nullable<Binary>)]
    sealed: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Text>)]
    file_name: Option<String>,
}

impl StoredSecret {
    /// Whether its value is in a file, which may change unseen.
    pub fn is_file(&self) -> bool {
        self.file_name.is_some()
    }
}

/// What seals and reads the secrets of an installation.
#[derive(Clone)]
pub struct SecretStore {
    keys: Option<SealingKeys>,
    /// Folder with a folder for each business.
    folder: Option<PathBuf>,
}

impl SecretStore {
    pub fn new(keys: Option<SealingKeys>, folder: Option<PathBuf>) -> Self {
        Self { keys, folder }
    }

    /// Returns the value of a secret of `channel`, which belongs to the business of this slug; `None` where no key opens
    /// it or the file cannot be read, which is logged.
    pub fn value(&self, business: Uuid, slug: &str, channel: Uuid, stored: &StoredSecret) -> Option<Secret> {
        let kind = SecretKind::named(&stored.kind)?;
        let value = match (&stored.sealed, &stored.file_name) {
            (Some(sealed), _) => self.keys.as_ref().and_then(|keys| keys.open(sealed, &owner(business, channel, kind))),
            (None, Some(file)) => self.read_file(slug, file),
            (None, None) => None,
        };
        if value.is_none() {
            let (kind, file) = (kind.name(), stored.file_name.as_deref().unwrap_or_default());
            tracing::warn!(%business, %channel, kind, file, "cannot open a secret of a channel; see RAPPORT_SEALING_KEY and RAPPORT_SECRETS_DIR");
        }
        value
    }

    fn read_file(&self, slug: &str, file: &str) -> Option<Secret> {
        let text = std::fs::read_to_string(self.folder.as_ref()?.join(slug).join(file)).ok()?;
        let text = text.trim();
        (8..=MAX_SECRET_LEN).contains(&text.chars().count()).then(|| Secret::from(text.to_owned()))
    }

    /// Stores a secret of a channel. Errors: 404; 409 when it has too many of this kind, or nothing seals it.
    pub fn add(
        &self,
        tx: &mut Tx<'_>,
        tenant: &Tenant,
        channel: Uuid,
        kind: SecretKind,
        value: &str,
    ) -> Result<ChannelSecret> {
        lock_channel(tx, tenant, channel)?;
        let Some(keys) = &self.keys else {
            let detail = "This installation has no key to seal secrets with. Ask its operator to set RAPPORT_SEALING_KEY, or to put the \
                          secret into a file and name that.";
            return Err(Error::conflict("sealing_not_configured", detail));
        };
        let sealed = keys.seal(value, &owner(tenant.id(), channel, kind))?;
        let digest = (kind == SecretKind::VerifyToken).then(|| digest(value));
        insert(tx, tenant, channel, kind, (Some(sealed), None, digest))
    }

    /// Stores the name of a file that has a secret of a channel. Errors: 404; 409 when it has too many of this kind, or the
    /// installation has no folder for them.
    pub fn add_file(
        &self,
        tx: &mut Tx<'_>,
        tenant: &Tenant,
        channel: Uuid,
        kind: SecretKind,
        file: &str,
    ) -> Result<ChannelSecret> {
        lock_channel(tx, tenant, channel)?;
        if self.folder.is_none() {
            let detail = "This installation has no folder for files with secrets. Ask its operator to set RAPPORT_SECRETS_DIR, or give the value.";
            return Err(Error::conflict("secrets_dir_not_configured", detail));
        }
        insert(tx, tenant, channel, kind, (None, Some(file.to_owned()), None))
    }
}

/// Seals with this: of another channel or kind, a sealed secret does not open.
fn owner(business: Uuid, channel: Uuid, kind: SecretKind) -> Vec<u8> {
    [business.as_bytes().as_slice(), channel.as_bytes(), kind.name().as_bytes()].concat()
}

/// The SHA-256 of a verify token.
pub fn digest(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}

type Place = (Option<Vec<u8>>, Option<String>, Option<Vec<u8>>);

fn insert(tx: &mut Tx<'_>, tenant: &Tenant, channel: Uuid, kind: SecretKind, place: Place) -> Result<ChannelSecret> {
    let mut sql = Statement::new("SELECT count(*) FROM channel_secrets WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND channel_id = ").bind(channel).sql(" AND kind = ").bind(kind.name());
    if sql.scalar::<i64>(tx)?.unwrap_or_default() >= MAX_EACH {
        let detail =
            format!("A channel has at most {MAX_EACH} secrets of a kind. Delete one that is not used any more.");
        return Err(Error::conflict("too_many_secrets", detail));
    }
    let (sealed, file, digest) = place;
    let mut sql = Statement::new(
        "INSERT INTO channel_secrets (business_id, id, channel_id, kind, sealed, file_name, digest) VALUES (",
    );
    sql.bind(tenant.id()).sql(", ").bind(Uuid::now_v7()).sql(", ").bind(channel).sql(", ").bind(kind.name()).sql(", ");
    sql.bind(sealed).sql(", ").bind(file).sql(", ").bind(digest).sql(") RETURNING id, kind, file_name, created_at");
    sql.first(tx)?.ok_or_else(|| Error::Internal("a secret that was written is not there".into()))
}

/// Locks a channel, so that its secrets are counted by one transaction at a time. Errors: 404.
fn lock_channel(tx: &mut Tx<'_>, tenant: &Tenant, channel: Uuid) -> Result<()> {
    let mut sql = Statement::new("SELECT t.id FROM channels AS t");
    sql.append(select::tenant_predicate(&CHANNELS, tenant)).sql(" AND t.deleted_at IS NULL AND t.id = ").bind(channel);
    let found = sql.sql(" FOR NO KEY UPDATE").scalar::<Uuid>(tx)?;
    found.map(|_| ()).ok_or_else(|| crate::resource::crud::not_found(&CHANNELS))
}

/// Returns the secrets of a channel, the newest first of each kind.
pub fn list(conn: &mut PgConnection, tenant: &Tenant, channel: Uuid) -> Result<Vec<ChannelSecret>> {
    let mut sql = Statement::new("SELECT id, kind, file_name, created_at FROM channel_secrets WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND channel_id = ").bind(channel).sql(" ORDER BY kind, created_at DESC, id DESC");
    Ok(sql.load(conn)?)
}

/// Deletes a secret of a channel. Errors: 404.
pub fn delete(tx: &mut Tx<'_>, tenant: &Tenant, channel: Uuid, secret: Uuid) -> Result<()> {
    let mut sql = Statement::new("DELETE FROM channel_secrets WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND channel_id = ").bind(channel).sql(" AND id = ").bind(secret);
    match sql.run(tx)? {
        0 => Err(Error::NotFound("There is no such secret of this channel.".into())),
        _ => Ok(()),
    }
}
