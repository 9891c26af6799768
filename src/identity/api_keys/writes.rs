//! Creation, update and revocation of API keys.

use uuid::Uuid;

use super::store::{Limits, generate, guard, guard_key, insert, with_secret};
use crate::auth::{Role, Tenant};
use crate::base::error::Result;
use crate::db::schema::api_keys;
use crate::db::{SqlValue, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::{Changeset, Resource, Row, WriteOps, crud};

/// How keys are written.
pub const WRITES: WriteOps = WriteOps { create, update, delete, ..WriteOps::PLAIN };

/// Creates a key and returns it as the member `key` of the row.
fn create(tx: &mut Tx<'_>, tenant: &Tenant, _: &'static Resource, change: Changeset) -> Result<(Uuid, Row)> {
    let role = change.text(api_keys::role).and_then(Role::named).unwrap_or(Role::Viewer);
    let permissions = match change.get(api_keys::permissions) {
        Some(SqlValue::Texts(names)) => Some(names.clone()),
        _ => None,
    };
    guard(tenant, role, permissions.as_deref())?;
    let key = generate()?;
    let limits = Limits { permissions, expires_at: change.time(api_keys::expires_at) };
    let id = insert(tx, tenant, change.text(api_keys::name).unwrap_or_default(), role, &key, limits)?;
    Ok((id, with_secret(tx, tenant, id, &key)?))
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
