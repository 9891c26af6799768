//! The resource `invitations`: its definition, validation and deletion.
//!
//! By an invitation people join a business themselves. It is made for an email address. A person who has that address
//! already, here or in another business, is neither shown nor changed: they join when they accept.

use std::time::Duration;

use uuid::Uuid;

use super::role_rules::guard_role;
use crate::auth::{Area, Role, Tenant, TenantSettings};
use crate::base::email;
use crate::base::error::Result;
use crate::db::schema::invitations;
use crate::db::{Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::crud;
use crate::resource::{
    Changeset, Field, FieldType, Hooks, Operations, Resource, Search, Sort, ValidationErrors, WriteOps,
};

pub static INVITATIONS: Resource = Resource {
    name: "invitation",
    plural: "invitations",
    schema: "Invitation",
    description: "People who were asked to join by mail and have not done so yet. A second one to the same address takes the place \
            of the first; one whose time is over stays until then, or until it is deleted.",
    table: "invitations",
    area: Area::People,
    fields: &[
        Field::id(invitations::id),
        Field::new(invitations::email, FieldType::Email, r#""bo@example.com""#, "Where the mail goes.")
            .required()
            .once(),
        Field::text(
            invitations::name,
            200,
            r#""Bo Lindqvist""#,
            "What they are called, if they are new here and say nothing else.",
        )
        .required()
        .once(),
        Field::choice(
            invitations::role,
            Role::NAMES,
            r#""agent""#,
            "What they will be; at most what who invites them is.",
        )
        .required()
        .once(),
        Field::time(invitations::expires_at, "Until when it can be accepted.").read_only().not_null(),
        Field::version(invitations::version),
        Field::created_at(invitations::created_at),
        Field::updated_at(invitations::updated_at),
    ],
    sorts: &[Sort::column(invitations::created_at)],
    search: Search::None,
    operations: Operations { update: false, restore: false, batch: false, ..Operations::ALL },
    hooks: Hooks { prepare, ..Hooks::NONE },
    cache_ttl: Duration::from_secs(900),
    compressible: false,
    ..Resource::BASE
};

/// How its rows are written.
pub const WRITES: WriteOps = WriteOps { delete, ..WriteOps::PLAIN };

fn prepare(change: &mut Changeset, _: &TenantSettings, faults: &mut ValidationErrors) {
    if change.text(invitations::email).is_some_and(|email| !email::is_reachable(email)) {
        faults.field("email", "format", "`email` must be an address that mail can be sent to.");
    }
}

/// Withdraws an invitation. Errors: 403 when its role is above the caller's.
fn delete(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, id: Uuid, expected: IfMatch) -> Result<()> {
    let mut sql = Statement::new("SELECT role FROM invitations WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ").bind(id);
    guard_role(tenant, sql.scalar::<String>(tx)?.as_deref())?;
    crud::delete(tx, tenant, resource, id, expected)
}
