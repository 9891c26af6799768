//! Memberships: which people belong to the business, in which role. People are added under `/users`; here a role is
//! changed and a membership ended.

use std::time::Duration;

use uuid::Uuid;

use super::role_rules::{ensure_owner_remains, guard_role, role_of};
use super::users::delete_unless_member;
use crate::auth::{Area, Role, Tenant};
use crate::base::error::Result;
use crate::db::schema::memberships;
use crate::db::{Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::{Changeset, Field, FieldType, Operations, Relation, Resource, Search, Sort, WriteOps};
use crate::resource::{Row, crud};

pub static MEMBERSHIPS: Resource = Resource {
    name: "membership",
    plural: "memberships",
    schema: "Membership",
    description: "Who belongs to the business, in which role. A person is added by `POST /users`.",
    table: "memberships",
    area: Area::People,
    fields: &[
        Field::id(memberships::id),
        Field::new(memberships::user_id, FieldType::Uuid, r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c73""#, "The person.")
            .read_only()
            .not_null()
            .filter(),
        Field::choice(memberships::role, Role::NAMES, r#""agent""#, "What they may do in this business.").not_null(),
        Field::version(memberships::version),
        Field::created_at(memberships::created_at),
        Field::updated_at(memberships::updated_at),
    ],
    relations: &[Relation::one("user", "users", memberships::user_id, "The person.")],
    sorts: &[Sort::column(memberships::created_at)],
    search: Search::None,
    operations: Operations { create: false, restore: false, batch: false, ..Operations::ALL },
    cache_ttl: Duration::from_secs(900),
    compressible: false,
    ..Resource::BASE
};

/// How its rows are written.
pub const WRITES: WriteOps = WriteOps { update, delete, ..WriteOps::PLAIN };

fn update(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    resource: &'static Resource,
    id: Uuid,
    change: Changeset,
    expected: IfMatch,
) -> Result<Row> {
    let role = role_of(tx, tenant, memberships::id, id)?;
    guard_role(tenant, change.text(memberships::role))?;
    let row = crud::update(tx, tenant, resource, id, change, expected)?;
    ensure_owner_remains(tx, tenant, role)?;
    Ok(row)
}

/// Ends a membership, and deletes the person if they belong to no other business.
fn delete(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, id: Uuid, expected: IfMatch) -> Result<()> {
    let role = role_of(tx, tenant, memberships::id, id)?;
    let mut member = Statement::new("SELECT user_id FROM memberships WHERE business_id = ");
    member.bind(tenant.id()).sql(" AND id = ").bind(id);
    let user = member.scalar::<Uuid>(tx)?.unwrap_or_default();
    crud::delete(tx, tenant, resource, id, expected)?;
    ensure_owner_remains(tx, tenant, role)?;
    delete_unless_member(tx, user)
}
