//! Serializes the bookings of one member of staff.

use std::collections::HashSet;

use diesel::prelude::*;
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::Tx;
use crate::db::schema::staff;

/// Locks staff rows until the transaction ends, so that bookings of one calendar are serialized: waiting at the
/// exclusion constraint instead ends in deadlocks when many ask for one time at once. The rows are locked in id order,
/// so that batches do not deadlock either. Returns those of them who can be booked now.
pub fn lock_bookable(tx: &mut Tx<'_>, tenant: &Tenant, wanted: Vec<Uuid>) -> Result<HashSet<Uuid>> {
    if wanted.is_empty() {
        return Ok(HashSet::new());
    }
    let there: Vec<(Uuid, bool)> = staff::table
        .filter(staff::business_id.eq(tenant.id()).and(staff::id.eq_any(wanted)).and(staff::deleted_at.is_null()))
        .select((staff::id, staff::active))
        .order(staff::id)
        .for_no_key_update()
        .load(&mut **tx)?;
    Ok(there.into_iter().filter(|(_, active)| *active).map(|(id, _)| id).collect())
}
