//! The locks that merges and their reversions take.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::fields::mergeable_fields;
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::{Statement, Tx};
use crate::resource::{Resource, select};

/// Waits until no other merge or erasure of the business is running: both lock many rows, each in its own order.
pub fn take_turns(tx: &mut Tx<'_>, tenant: &Tenant) -> Result<()> {
    let mut sql = Statement::new("SELECT pg_advisory_xact_lock(hashtextextended('merges ' || ");
    sql.bind(tenant.id().to_string()).sql(", 0))").run(tx)?;
    Ok(())
}

/// A locked contact or company.
#[derive(QueryableByName)]
pub(super) struct LockedRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = BigInt)]
    pub(super) version: i64,
    #[diesel(sql_type = Bool)]
    pub(super) is_deleted: bool,
    /// The names of the [`mergeable_fields`] that have a value.
    #[diesel(sql_type = Array<Text>)]
    pub(super) filled: Vec<String>,
}

/// Locks rows before they are changed, in the common order: leads first, then those of the resource, by id.
pub(super) fn lock(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    resource: &'static Resource,
    ids: &[Uuid],
) -> Result<Vec<LockedRow>> {
    let mut sql = Statement::new("SELECT t.id FROM leads t WHERE t.business_id = ");
    sql.bind(tenant.id()).sql(" AND t.").ident(resource.name).sql("_id = ANY(").bind(ids.to_vec());
    sql.sql(") ORDER BY t.id FOR NO KEY UPDATE").run(tx)?;
    let mut sql = Statement::new("SELECT t.id, t.version, t.deleted_at IS NOT NULL AS is_deleted, array_remove(ARRAY[");
    for (place, field) in mergeable_fields(resource).enumerate() {
        sql.sql(if place == 0 { "" } else { ", " });
        sql.sql("CASE WHEN t.").ident(field.name).sql(" IS NOT NULL THEN ").literal(field.name).sql(" END");
    }
    sql.sql("], NULL) AS filled FROM ").ident(resource.table).sql(" t");
    sql.append(select::tenant_predicate(resource, tenant)).sql(" AND t.id = ANY(").bind(ids.to_vec());
    // `FOR UPDATE` waits for transactions that have just referenced one of the rows.
    Ok(sql.sql(") ORDER BY t.id FOR UPDATE").load(tx)?)
}
