//! The locks that merges and their reversions take.

use super::fields::mergeable_fields;
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::{RawRow, Statement, Tx};
use crate::resource::{Resource, select};

use uuid::Uuid;

/// Waits until no other merge or erasure of the business is running: both lock many rows, each in its own order.
pub fn take_turns(tx: &mut Tx<'_>, tenant: &Tenant) -> Result<()> {
    let mut sql = Statement::new("SELECT pg_advisory_xact_lock(hashtextextended('merges ' || ");
    sql.bind(tenant.id().to_string()).sql(", 0))").run(tx)?;
    Ok(())
}

/// Locks rows before they are changed, in the common order: leads first, then those of the resource, by id. Columns:
/// id, version, whether deleted (0, 1), and then whether each of the resource's [`mergeable_fields`] has a value (0, 1).
pub(super) fn lock(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, ids: &[Uuid]) -> Result<Vec<RawRow>> {
    let mut sql = Statement::new("SELECT t.id FROM leads t WHERE t.business_id = ");
    sql.bind(tenant.id()).push(&format!(" AND t.{}_id = ANY(", resource.name));
    sql.bind(ids.to_vec()).sql(") ORDER BY t.id FOR NO KEY UPDATE").rows(tx)?;
    let given: String =
        mergeable_fields(resource).map(|field| format!(", (t.{} IS NOT NULL)::integer", field.name)).collect();
    let mut sql = Statement::new(format!(
        "SELECT t.id, t.version, (t.deleted_at IS NOT NULL)::integer{given} FROM {} t",
        resource.table
    ));
    sql.append(select::tenant_predicate(resource, tenant)).sql(" AND t.id = ANY(").bind(ids.to_vec());
    // `FOR UPDATE` waits for transactions that have just referenced one of the rows.
    Ok(sql.sql(") ORDER BY t.id FOR UPDATE").rows(tx)?)
}
