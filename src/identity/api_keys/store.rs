//! Storage of API keys, and the check that a key may do no more than its maker.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use uuid::Uuid;

use super::definition::API_KEYS;
use crate::auth::{Permissions, Role, Tenant, hash, secret};
use crate::base::error::{Error, Result};
use crate::db::schema::api_keys;
use crate::db::{Statement, Tx};
use crate::identity::role_rules::guard_role;
use crate::resource::{Row, crud};

/// Characters of a key which stay readable, to tell keys apart.
const PREFIX: usize = 10;

/// What a key may do.
#[derive(QueryableByName)]
#[diesel(table_name = api_keys)]
struct GrantedAccess {
    role: String,
    permissions: Option<Vec<String>>,
}

/// Checks that the key `id` may do no more than the caller. Errors: 403.
pub fn guard_key(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<()> {
    let mut sql = Statement::new("SELECT role, permissions FROM api_keys WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ").bind(id);
    let Some(granted) = sql.first::<GrantedAccess>(tx)? else { return Ok(()) };
    guard(tenant, Role::named(&granted.role).unwrap_or(Role::Owner), granted.permissions.as_deref())
}

/// Checks that the caller grants no more than they may do themselves. Errors: 403.
pub fn guard(tenant: &Tenant, role: Role, permissions: Option<&[String]>) -> Result<()> {
    let Some(names) = permissions else { return guard_role(tenant, Some(role.name())) };
    let asked: Permissions = names.iter().filter_map(|name| Permissions::named(name)).collect();
    if role > tenant.role() || !tenant.permissions().contain(asked) {
        return Err(Error::Forbidden("A key may do at most what its maker may do.".into()));
    }
    Ok(())
}

/// Returns the row of the key `id`, with the key itself as its member `key`. Errors: 404.
pub fn with_secret(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, key: &str) -> Result<Row> {
    let row = crud::one(tx, tenant, &API_KEYS, id, &Default::default())?;
    let mut row = row.ok_or_else(|| crud::not_found(&API_KEYS))?;
    row.json.pop();
    row.json.extend_from_slice(format!(",\"key\":\"{key}\"}}").as_bytes());
    Ok(row)
}

/// Returns the readable start of `key`.
pub fn prefix(key: &str) -> String {
    key.chars().take(PREFIX).collect()
}

/// Generates a key: `rk_` and 256 random bits.
pub fn generate() -> Result<String> {
    secret("rk_")
}

/// Restrictions of a key.
#[derive(Debug, Default)]
pub struct Limits {
    /// Its permissions, if not all those of its role.
    pub permissions: Option<Vec<String>>,
    /// When it expires; `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Stores `key` for the tenant. Does nothing if the same key exists.
pub fn insert(tx: &mut Tx<'_>, tenant: &Tenant, name: &str, role: Role, key: &str, limits: Limits) -> Result<Uuid> {
    let id = Uuid::now_v7();
    let mut sql = Statement::new(
        "INSERT INTO api_keys (business_id, id, name, role, prefix, hash, expires_at, permissions) VALUES (",
    );
    sql.bind(tenant.id()).sql(", ").bind(id).sql(", ");
    sql.bind(name).sql(", ").bind(role.name()).sql(", ");
    sql.bind(prefix(key)).sql(", ").bind(hash(key).to_vec());
    sql.sql(", ").bind(limits.expires_at).sql(", ");
    match limits.permissions {
        Some(names) => sql.bind(names),
        None => sql.sql("NULL"),
    };
    sql.sql(") ON CONFLICT (hash) DO NOTHING").run(tx)?;
    Ok(id)
}
