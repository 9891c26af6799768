//! Stored bookings, as far as the rules need them.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use uuid::Uuid;

use super::time_slot::{BLOCKING_STATUSES, TimeSlot};
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::Tx;
use crate::db::schema::bookings;

/// The columns of a stored booking that the rules need.
#[derive(Queryable, Selectable)]
#[diesel(table_name = bookings, check_for_backend(diesel::pg::Pg))]
pub struct StoredBooking {
    pub id: Uuid,
    pub code: String,
    pub staff_id: Option<Uuid>,
    pub starts_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
    pub time_zone: String,
    pub status: String,
    pub deleted_at: Option<DateTime<Utc>>,
}

impl StoredBooking {
    /// Returns the time that it takes of its staff, if any.
    pub fn time_slot(&self) -> Option<TimeSlot> {
        let staff = self.staff_id.filter(|_| BLOCKING_STATUSES.contains(&self.status.as_str()))?;
        Some(TimeSlot { staff, chosen: false, start: self.starts_at, end: self.ends_at, code: self.code.clone() })
    }
}

/// Loads and locks bookings in id order, so that concurrent transactions do not deadlock.
pub fn load_for_update(tx: &mut Tx<'_>, tenant: &Tenant, ids: Vec<Uuid>) -> Result<Vec<StoredBooking>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    Ok(bookings::table
        .filter(bookings::business_id.eq(tenant.id()).and(bookings::id.eq_any(ids)))
        .select(StoredBooking::as_select())
        .order(bookings::id)
        .for_no_key_update()
        .load(&mut **tx)?)
}
