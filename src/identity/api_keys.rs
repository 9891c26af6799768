//! API keys: how programs come in. A key is shown once, when it is made; the database has its SHA-256 only.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore;
use rand::rngs::OsRng;
use uuid::Uuid;

use super::memberships::guard_role;
use crate::auth::Tenant;
use crate::auth::hash;
use crate::auth::{Area, Role};
use crate::db::{Statement, Tx, Value};
use crate::error::{Error, Result};
use crate::noun::store::{self, Row};
use crate::noun::{Change, Field, Noun, Operations, Search, Sort, Writes};

/// Characters of a key that stay readable, so that people can tell keys apart.
const PREFIX: usize = 10;

pub static API_KEYS: Noun = Noun {
    name: "api_key",
    plural: "api-keys",
    schema: "ApiKey",
    about: "How programs come in. The key itself is shown once, in the answer that made it.",
    table: "api_keys",
    area: Area::Keys,
    fields: &[
        Field::ID,
        Field::text("name", 100, r#""Website form""#, "What it is for.").required(),
        Field::choice("role", Role::NAMES, r#""agent""#, "What it may do; at most what its maker may.")
            .required()
            .once(),
        Field::text("prefix", 20, r#""rk_4fJx9Qa""#, "How the key begins, to recognise it by.").read_only().not_null(),
        Field::time("last_used_at", "When it was last used, to the minute.").read_only(),
        Field::VERSION,
        Field::CREATED_AT,
        Field::UPDATED_AT,
    ],
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::None,
    // A revoked key stays revoked: it may have leaked.
    operations: Operations { restore: false, ..Operations::ALL },
    writes: Writes { create, delete, ..Writes::PLAIN },
    ttl: Duration::from_secs(900),
    packed: false,
    ..Noun::BASE
};

/// Makes a key and shows it, as the member `key` of the row.
fn create(tx: &mut Tx<'_>, tenant: &Tenant, change: Change) -> Result<(Uuid, Row)> {
    let role = change.text("role").and_then(Role::named).unwrap_or(Role::Viewer);
    guard_role(tenant, Some(role.name()))?;
    let key = generate()?;
    let id = insert(tx, tenant, change.text("name").unwrap_or_default(), role, &key)?;
    let mut row =
        store::one(tx, tenant, &API_KEYS, id, &Default::default())?.ok_or_else(|| store::missing(&API_KEYS))?;
    row.json.pop();
    row.json.extend_from_slice(format!(",\"key\":\"{key}\"}}").as_bytes());
    Ok((id, row))
}

/// Revokes a key. Errors: 403 when it may do more than its revoker.
fn delete(tx: &mut Tx<'_>, tenant: &Tenant, noun: &'static Noun, id: Uuid, expected: Option<i64>) -> Result<()> {
    let mut sql = Statement::new("SELECT role FROM api_keys WHERE business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(" AND id = ").bind(Value::Uuid(Some(id)));
    let row = sql.row(tx)?;
    guard_role(tenant, row.as_ref().and_then(|row| row.text(0)))?;
    store::delete(tx, tenant, noun, id, expected)
}

/// A new key: `rk_` and 256 random bits.
pub fn generate() -> Result<String> {
    let mut bits = [0; 32];
    OsRng.try_fill_bytes(&mut bits).map_err(|error| Error::Internal(format!("no randomness: {error}")))?;
    Ok(format!("rk_{}", URL_SAFE_NO_PAD.encode(bits)))
}

/// Stores `key` for the tenant. The same key again is left as it is.
pub fn insert(tx: &mut Tx<'_>, tenant: &Tenant, name: &str, role: Role, key: &str) -> Result<Uuid> {
    let id = Uuid::now_v7();
    let text = |text: &str| Value::Text(Some(text.to_owned()));
    let mut sql = Statement::new("INSERT INTO api_keys (business_id, id, name, role, prefix, hash) VALUES (");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(", ").bind(Value::Uuid(Some(id))).push(", ");
    sql.bind(text(name)).push(", ").bind(text(role.name())).push(", ");
    sql.bind(text(&key.chars().take(PREFIX).collect::<String>())).push(", ").bind(Value::Bytes(hash(key).to_vec()));
    sql.push(") ON CONFLICT (hash) DO NOTHING");
    sql.run(tx)?;
    Ok(id)
}
