//! How people are let in by whoever runs the service.

use uuid::Uuid;

use super::memberships::{keep_an_owner, role_of};
use super::sessions;
use crate::auth::{Role, Tenant};
use crate::db::{Statement, Tx, Value};
use crate::error::{Error, Result};

/// Makes whoever has the address `email` a member in `role`; who is new is called `name`. The password of `hash` becomes
/// theirs if they have none, or if `replaces`. Returns whether it did. Errors: 409 when it would take the last owner away.
pub fn admit(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    (email, name): (&str, &str),
    role: Role,
    hash: &str,
    replaces: bool,
) -> Result<bool> {
    let text = Value::text;
    let (id, _) = known_as(tx, email, name)?;
    let before = role_of(tx, tenant, "user_id", id)?;
    let mut member = Statement::new("INSERT INTO memberships (business_id, id, user_id, role) VALUES (");
    member.bind(Value::Uuid(Some(tenant.id()))).push(", ").bind(Value::Uuid(Some(Uuid::now_v7()))).push(", ");
    member.bind(Value::Uuid(Some(id))).push(", ").bind(text(role.name()));
    member.push(
        ") ON CONFLICT (business_id, user_id) DO UPDATE SET role = excluded.role, version = memberships.version + 1, \
         updated_at = now() WHERE memberships.role <> excluded.role",
    );
    member.run(tx)?;
    keep_an_owner(tx, tenant, before)?;
    let has_new_password = replaces || sessions::password(tx, id)?.is_none();
    if has_new_password {
        sessions::set_password(tx, id, hash, None)?;
    }
    Ok(has_new_password)
}

/// Whoever has the address `email`, their id and name; who is new is called `name`. They stay who they are until the end of
/// the transaction.
pub fn known_as(tx: &mut Tx<'_>, email: &str, name: &str) -> Result<(Uuid, String)> {
    let text = Value::text;
    let mut person = Statement::new("INSERT INTO users (id, email, name) VALUES (");
    person.bind(Value::Uuid(Some(Uuid::now_v7()))).push(", ").bind(text(email)).push(", ").bind(text(name));
    // Changed to what it is, because nothing is returned of a row that was left alone.
    person.push(") ON CONFLICT (lower(email)) DO UPDATE SET email = users.email RETURNING id, name");
    let row = person.row(tx)?;
    let known = row.as_ref().and_then(|row| Some((row.uuid(0)?, row.text(1)?.to_owned())));
    known.ok_or_else(|| Error::Internal("an insert returned no row".into()))
}
