//! Provisioning of people by an operator, on the command line.

use diesel::QueryableByName;
use uuid::Uuid;

use super::add_member::{KnownMember, add_member};
use super::role_rules::{ensure_owner_remains, role_of};
use super::stored_passwords;
use crate::auth::{Role, Tenant};
use crate::base::error::{Error, Result};
use crate::db::schema::{memberships, users};
use crate::db::{Statement, Tx};

/// Makes the person with the address `email` a member in `role`; a new person is called `name`. Stores the password
/// `hash` if they have none, or if `replaces`; returns whether it did. Errors: 409 when it would remove the last owner.
pub fn admit(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    (email, name): (&str, &str),
    role: Role,
    hash: &str,
    replaces: bool,
) -> Result<bool> {
    let Person { id, .. } = find_or_create_person(tx, email, name)?;
    let before = role_of(tx, tenant, memberships::user_id, id)?;
    add_member(tx, tenant.id(), id, role.name(), KnownMember::Gets)?;
    ensure_owner_remains(tx, tenant, before)?;
    let has_new_password = replaces || stored_passwords::password(tx, id)?.is_none();
    if has_new_password {
        stored_passwords::set_password(tx, id, hash, None)?;
    }
    Ok(has_new_password)
}

/// A person, who may belong to any business.
#[derive(QueryableByName)]
#[diesel(table_name = users)]
pub struct Person {
    pub id: Uuid,
    pub name: String,
}

/// Finds or creates the person with the address `email`. A new person is called `name`. The row is locked until the end
/// of the transaction.
pub fn find_or_create_person(tx: &mut Tx<'_>, email: &str, name: &str) -> Result<Person> {
    let mut person = Statement::new("INSERT INTO users (id, email, name) VALUES (");
    person.bind(Uuid::now_v7()).sql(", ").bind(email).sql(", ").bind(name);
    // Updates to the same value, because DO NOTHING would return no row.
    person.sql(") ON CONFLICT (lower(email)) DO UPDATE SET email = users.email RETURNING id, name");
    person.first(tx)?.ok_or_else(|| Error::Internal("an insert returned no row".into()))
}
