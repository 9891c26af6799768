//! API keys: how programs come in. A key is shown once, when it is made; the database has its SHA-256 only.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::memberships::guard_role;
use crate::auth::{Area, Business, Role, Tenant, hash, random};
use crate::db::{Statement, Tx, Value};
use crate::error::Result;
use crate::noun::store::{self, Row};
use crate::noun::{Change, Faults, Field, Hooks, Kind, Noun, Operations, Search, Sort, Writes};

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
        Field::new("expires_at", Kind::Time, r#""2100-01-01T00:00:00Z""#, "When it ends by itself; never, if null."),
        Field::time("last_used_at", "When it was last used, to the minute.").read_only(),
        Field::VERSION,
        Field::CREATED_AT,
        Field::UPDATED_AT,
    ],
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::None,
    // A revoked key stays revoked: it may have leaked.
    operations: Operations { restore: false, ..Operations::ALL },
    hooks: Hooks { prepare, ..Hooks::NONE },
    writes: Writes { create, update, delete, ..Writes::PLAIN },
    routes: super::http::key_routes,
    ttl: Duration::from_secs(900),
    packed: false,
    ..Noun::BASE
};

/// A key that has ended already would only puzzle: it is revoked by deleting it.
fn prepare(change: &mut Change, _: &Business, faults: &mut Faults) {
    if change.get("expires_at").and_then(Value::as_time).is_some_and(|time| time <= chrono::Utc::now()) {
        faults.field("expires_at", "past", "`expires_at` must be in the future. To end a key now, delete it.");
    }
}

/// Makes a key and shows it, as the member `key` of the row.
fn create(tx: &mut Tx<'_>, tenant: &Tenant, change: Change) -> Result<(Uuid, Row)> {
    let role = change.text("role").and_then(Role::named).unwrap_or(Role::Viewer);
    guard_role(tenant, Some(role.name()))?;
    let key = generate()?;
    let id = insert(tx, tenant, change.text("name").unwrap_or_default(), role, &key)?;
    if let Some(time) = change.get("expires_at") {
        let mut sql = Statement::new("UPDATE api_keys SET expires_at = ");
        sql.bind(time.clone()).push(" WHERE business_id = ").bind(Value::Uuid(Some(tenant.id())));
        sql.push(" AND id = ").bind(Value::Uuid(Some(id))).run(tx)?;
    }
    Ok((id, shown_with(tx, tenant, id, &key)?))
}

/// Changes a key's name or end. Errors: 403 when it may do more than who asks.
fn update(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, change: Change, expected: Option<i64>) -> Result<Row> {
    guard_key(tx, tenant, id)?;
    store::update(tx, tenant, id, change, expected)
}

/// Revokes a key. Errors: 403 when it may do more than its revoker.
fn delete(tx: &mut Tx<'_>, tenant: &Tenant, noun: &'static Noun, id: Uuid, expected: Option<i64>) -> Result<()> {
    guard_key(tx, tenant, id)?;
    store::delete(tx, tenant, noun, id, expected)
}

/// Puts `key` in the place of the key `id`, which still works for `overlap` seconds, so that programs can be told one
/// after the other. Errors: 404; 403 when it may do more than who asks.
pub fn rotate(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, overlap: i64, key: &str) -> Result<Row> {
    guard_key(tx, tenant, id)?;
    let mut sql =
        Statement::new("UPDATE api_keys SET version = version + 1, updated_at = now(), previous_hash = hash, ");
    sql.push("previous_until = now() + make_interval(secs => ").bind(Value::Int(Some(overlap))).push("), hash = ");
    sql.bind(Value::Bytes(hash(key).to_vec())).push(", prefix = ").bind(prefix(key)).push(" WHERE business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(" AND id = ").bind(Value::Uuid(Some(id))).run(tx)?;
    shown_with(tx, tenant, id, key)
}

fn guard_key(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<()> {
    let mut sql = Statement::new("SELECT role FROM api_keys WHERE business_id = ");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(" AND id = ").bind(Value::Uuid(Some(id)));
    let row = sql.row(tx)?;
    guard_role(tenant, row.as_ref().and_then(|row| row.text(0)))
}

/// The row of the key `id`, with the key itself.
fn shown_with(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, key: &str) -> Result<Row> {
    let row = store::one(tx, tenant, &API_KEYS, id, &Default::default())?;
    let mut row = row.ok_or_else(|| store::missing(&API_KEYS))?;
    row.json.pop();
    row.json.extend_from_slice(format!(",\"key\":\"{key}\"}}").as_bytes());
    Ok(row)
}

fn prefix(key: &str) -> Value {
    Value::Text(Some(key.chars().take(PREFIX).collect()))
}

/// A new key: `rk_` and 256 random bits.
pub fn generate() -> Result<String> {
    Ok(format!("rk_{}", URL_SAFE_NO_PAD.encode(random::<32>()?)))
}

/// Stores `key` for the tenant. The same key again is left as it is.
pub fn insert(tx: &mut Tx<'_>, tenant: &Tenant, name: &str, role: Role, key: &str) -> Result<Uuid> {
    let id = Uuid::now_v7();
    let text = |text: &str| Value::Text(Some(text.to_owned()));
    let mut sql = Statement::new("INSERT INTO api_keys (business_id, id, name, role, prefix, hash) VALUES (");
    sql.bind(Value::Uuid(Some(tenant.id()))).push(", ").bind(Value::Uuid(Some(id))).push(", ");
    sql.bind(text(name)).push(", ").bind(text(role.name())).push(", ");
    sql.bind(prefix(key)).push(", ").bind(Value::Bytes(hash(key).to_vec()));
    sql.push(") ON CONFLICT (hash) DO NOTHING");
    sql.run(tx)?;
    Ok(id)
}
