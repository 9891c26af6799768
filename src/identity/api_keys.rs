//! API keys: credentials for programs. A key is shown once, when it is issued; the database stores only its SHA-256.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::memberships::guard_role;
use crate::auth::{Area, Permissions, Role, Tenant, TenantSettings, hash, secret};
use crate::base::error::{Error, Result};
use crate::db::{SqlValue, Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::crud::{self, Row};
use crate::resource::{
    Changeset, Field, FieldType, Hooks, Operations, Resource, Search, Sort, ValidationErrors, WriteOps, did_you_mean,
};

/// Characters of a key which stay readable, to tell keys apart.
const PREFIX: usize = 10;

static KEY: Field = Field::text("key", 60, r#""rk_4fJx9QaT0m3v…""#, "The key. It is not shown again.").not_null();

pub static API_KEYS: Resource = Resource {
    name: "api_key",
    plural: "api-keys",
    schema: "ApiKey",
    description: "How programs come in. The key itself is shown once, in the answer that made it.",
    table: "api_keys",
    area: Area::Keys,
    fields: &[
        Field::ID,
        Field::text("name", 100, r#""Website form""#, "What it is for.").required(),
        Field::choice(
            "role",
            Role::NAMES,
            r#""agent""#,
            "What it may do; at most what its maker may. The least that has its permissions, when left out.",
        )
        .not_null()
        .once(),
        Field::new(
            "permissions",
            FieldType::Tags,
            r#"["crm:read","crm:write"]"#,
            "What it may do, as `GET /me` names it, where that is less than its role may; null: all that its role may.",
        )
        .once(),
        Field::text("prefix", 20, r#""rk_4fJx9Qa""#, "How the key begins, to recognise it by.").read_only().not_null(),
        Field::new(
            "expires_at",
            FieldType::Time,
            r#""2100-01-01T00:00:00Z""#,
            "When it ends by itself; never, if null.",
        ),
        Field::time("last_used_at", "When it was last used, to the minute.").read_only(),
        Field::VERSION,
        Field::CREATED_AT,
        Field::UPDATED_AT,
    ],
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::None,
    // A revoked key cannot be restored: it may have leaked.
    operations: Operations { restore: false, batch: false, ..Operations::ALL },
    hooks: Hooks { prepare, ..Hooks::NONE },
    cache_ttl: Duration::from_secs(900),
    secret: Some(&KEY),
    compressible: false,
    ..Resource::BASE
};

/// How its rows are written.
pub const WRITES: WriteOps = WriteOps { create, update, delete, ..WriteOps::PLAIN };

/// Validates permissions, role and expiry. An expiry in the past is an error, because a key is revoked by deleting it.
fn prepare(change: &mut Changeset, _: &TenantSettings, faults: &mut ValidationErrors) {
    let permissions = match change.get("permissions") {
        Some(SqlValue::Texts(names)) if names.is_empty() => {
            let detail =
                "Name at least one permission, or leave `permissions` out: then the key may what its role may.";
            return faults.field("permissions", "required", detail);
        }
        Some(SqlValue::Texts(names)) => Some(
            names.iter().map(|name| Permissions::named(name).ok_or(name.clone())).collect::<Result<Permissions, _>>(),
        ),
        _ => None,
    };
    let role = change.text("role").and_then(Role::named);
    match (permissions, role) {
        (Some(Err(unknown)), _) => {
            let known: Vec<String> = Role::Owner.permissions().names().collect();
            let hint = did_you_mean(&unknown, known.iter().map(String::as_str));
            faults.field("permissions", "not_a_choice", format!("There is no permission `{unknown}`.{hint}"));
        }
        (Some(Ok(all)), role) => match (role, Role::least_with(all)) {
            (Some(role), _) if !role.permissions().contain(all) => {
                let detail = format!("The role `{role}` has not all of these permissions; leave `role` out.");
                faults.field("permissions", "out_of_range", detail);
            }
            (None, Some(least)) => change.set_default("role", SqlValue::Text(Some(least.name().to_owned()))),
            _ => {}
        },
        (None, None) if change.creates => faults.field("role", "required", "Give a `role`, or `permissions`."),
        (None, _) => {}
    }
    if change.get("expires_at").and_then(SqlValue::as_time).is_some_and(|time| time <= chrono::Utc::now()) {
        faults.field("expires_at", "past", "`expires_at` must be in the future. To end a key now, delete it.");
    }
}

/// Creates a key and returns it as the member `key` of the row.
fn create(tx: &mut Tx<'_>, tenant: &Tenant, _: &'static Resource, change: Changeset) -> Result<(Uuid, Row)> {
    let role = change.text("role").and_then(Role::named).unwrap_or(Role::Viewer);
    let permissions = match change.get("permissions") {
        Some(SqlValue::Texts(names)) => Some(names.clone()),
        _ => None,
    };
    guard(tenant, role, permissions.as_deref())?;
    let key = generate()?;
    let limits = Limits { permissions, expires_at: change.get("expires_at").and_then(SqlValue::as_time) };
    let id = insert(tx, tenant, change.text("name").unwrap_or_default(), role, &key, limits)?;
    Ok((id, shown_with(tx, tenant, id, &key)?))
}

/// Updates a key's name or expiry. Errors: 403 when the key may do more than the caller.
fn update(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    resource: &'static Resource,
    id: Uuid,
    change: Changeset,
    expected: IfMatch,
) -> Result<Row> {
    guard_key(tx, tenant, id)?;
    crud::update(tx, tenant, resource, id, change, expected)
}

/// Revokes a key. Errors: 403 when the key may do more than the caller.
fn delete(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, id: Uuid, expected: IfMatch) -> Result<()> {
    guard_key(tx, tenant, id)?;
    crud::delete(tx, tenant, resource, id, expected)
}

/// Replaces the secret of the key `id` with `key`. The old one still works for `overlap` seconds, so that programs can
/// be switched one after the other; with 0 all earlier ones end now. Errors: 404; 403 when the key may do more than the
/// caller; 409 while the secret before the last rotation still works, because this rotation would end it early.
pub fn rotate(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, overlap: i64, key: &str) -> Result<Row> {
    guard_key(tx, tenant, id)?;
    let mut sql =
        Statement::new("UPDATE api_keys SET version = version + 1, updated_at = now(), previous_hash = hash, ");
    sql.push("previous_until = now() + make_interval(secs => ").bind(SqlValue::Int(Some(overlap))).push("), hash = ");
    sql.bind(SqlValue::Bytes(hash(key).to_vec())).push(", prefix = ").bind(prefix(key)).push(" WHERE business_id = ");
    sql.bind(SqlValue::Uuid(Some(tenant.id()))).push(" AND id = ").bind(SqlValue::Uuid(Some(id)));
    if overlap > 0 {
        sql.push(" AND (previous_until IS NULL OR previous_until <= now())");
    }
    let rotated = sql.run(tx)? > 0;
    let row = shown_with(tx, tenant, id, key)?;
    if rotated { Ok(row) } else { Err(still_rotating()) }
}

fn still_rotating() -> Error {
    Error::conflict(
        "rotation_running",
        "The key before the last rotation still works, and this rotation would end it. Wait for the end of that overlap, \
         or send `\"overlap_seconds\": 0`, which ends both keys of before at once.",
    )
}

fn guard_key(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<()> {
    let mut sql = Statement::new("SELECT role, array_to_string(permissions, ' ') FROM api_keys WHERE business_id = ");
    sql.bind(SqlValue::Uuid(Some(tenant.id()))).push(" AND id = ").bind(SqlValue::Uuid(Some(id)));
    let Some(row) = sql.row(tx)? else { return Ok(()) };
    let names: Option<Vec<String>> = row.text(1).map(|names| names.split(' ').map(str::to_owned).collect());
    guard(tenant, row.text(0).and_then(Role::named).unwrap_or(Role::Owner), names.as_deref())
}

/// Checks that the caller grants no more than they may do themselves. Errors: 403.
fn guard(tenant: &Tenant, role: Role, permissions: Option<&[String]>) -> Result<()> {
    let Some(names) = permissions else { return guard_role(tenant, Some(role.name())) };
    let asked: Permissions = names.iter().filter_map(|name| Permissions::named(name)).collect();
    if role > tenant.role() || !tenant.permissions().contain(asked) {
        return Err(Error::Forbidden("A key may do at most what its maker may do.".into()));
    }
    Ok(())
}

/// Returns the row of the key `id`, including the key itself.
fn shown_with(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, key: &str) -> Result<Row> {
    let row = crud::one(tx, tenant, &API_KEYS, id, &Default::default())?;
    let mut row = row.ok_or_else(|| crud::not_found(&API_KEYS))?;
    row.json.pop();
    row.json.extend_from_slice(format!(",\"key\":\"{key}\"}}").as_bytes());
    Ok(row)
}

fn prefix(key: &str) -> SqlValue {
    SqlValue::Text(Some(key.chars().take(PREFIX).collect()))
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
    let text = SqlValue::text;
    let mut sql = Statement::new(
        "INSERT INTO api_keys (business_id, id, name, role, prefix, hash, expires_at, permissions) VALUES (",
    );
    sql.bind(SqlValue::Uuid(Some(tenant.id()))).push(", ").bind(SqlValue::Uuid(Some(id))).push(", ");
    sql.bind(text(name)).push(", ").bind(text(role.name())).push(", ");
    sql.bind(prefix(key)).push(", ").bind(SqlValue::Bytes(hash(key).to_vec()));
    sql.push(", ").bind(SqlValue::Time(limits.expires_at)).push(", ");
    match limits.permissions {
        Some(names) => sql.bind(SqlValue::Texts(names)),
        None => sql.push("NULL"),
    };
    sql.push(") ON CONFLICT (hash) DO NOTHING").run(tx)?;
    Ok(id)
}
