//! Cancels, confirms, moves and ends bookings. Each is a change of the row as any other: with its hooks, its entry in the audit log and its
//! event.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use uuid::Uuid;

use super::resource::BOOKINGS;
use super::time_slot::BLOCKING_STATUSES;
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::schema::bookings;
use crate::db::{Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::{Changeset, Row, crud, select};

const CANCELLED: &str = "cancelled";
const CONFIRMED: &str = "confirmed";
pub const COMPLETED: &str = "completed";
pub const NO_SHOW: &str = "no_show";

/// A locked booking.
#[derive(QueryableByName)]
#[diesel(table_name = bookings)]
struct Locked {
    version: i64,
    status: String,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
}

impl Locked {
    /// Errors: 409 where the booking is over.
    fn is_open(&self, verb: &str) -> Result<()> {
        if BLOCKING_STATUSES.contains(&self.status.as_str()) {
            return Ok(());
        }
        let detail = format!("The booking is `{}`, and cannot be {verb}. Make another one.", self.status);
        Err(Error::conflict("booking_over", detail))
    }
}

/// Locks booking `id` if `expected` is its version. Errors: 404; 412.
fn lock(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Result<Locked> {
    let mut sql = Statement::new("SELECT t.version, t.status, t.starts_at, t.ends_at FROM bookings t");
    sql.append(select::tenant_predicate(&BOOKINGS, tenant)).sql(" AND t.id = ").bind(id);
    select::not_deleted(&mut sql, &BOOKINGS);
    let locked = sql.sql(" FOR NO KEY UPDATE OF t").first::<Locked>(tx)?;
    let locked = locked.ok_or_else(|| crud::not_found(&BOOKINGS))?;
    if !expected.allows(Some(locked.version)) {
        return Err(Error::PreconditionFailed);
    }
    Ok(locked)
}

fn change(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, set: impl FnOnce(&mut Changeset)) -> Result<Row> {
    let mut change = Changeset::empty(BOOKINGS.fields);
    set(&mut change);
    crud::update(tx, tenant, &BOOKINGS, id, change, IfMatch::ANY)
}

/// Cancels a booking, whose time is free then; one that is cancelled stays so. Errors: 404; 409 when it is over; 412.
pub fn cancel(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Result<Row> {
    let locked = lock(tx, tenant, id, expected)?;
    if locked.status != CANCELLED {
        locked.is_open(CANCELLED)?;
    }
    change(tx, tenant, id, |change| {
        if locked.status != CANCELLED {
            change.set(bookings::status, CANCELLED);
        }
    })
}

/// Confirms a booking that is held or pending; one that is confirmed stays so. Errors: 404; 409 when it is over; 412.
pub fn confirm(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Result<Row> {
    let locked = lock(tx, tenant, id, expected)?;
    locked.is_open(CONFIRMED)?;
    change(tx, tenant, id, |change| {
        if locked.status != CONFIRMED {
            change.set(bookings::status, CONFIRMED);
        }
    })
}

/// Where a booking is moved.
#[derive(Clone, Copy, Debug)]
pub struct Move {
    pub starts_at: DateTime<Utc>,
    /// Who performs it from now on; as before without.
    pub staff_id: Option<Uuid>,
}

/// Moves a booking, which keeps its code and lasts as long as before. Errors: 404; 409 when it is over, or the new time is taken: then it
/// stays where it was; 412; 422.
pub fn reschedule(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch, to: Move) -> Result<Row> {
    let locked = lock(tx, tenant, id, expected)?;
    locked.is_open("moved")?;
    let ends_at = to.starts_at.checked_add_signed(locked.ends_at - locked.starts_at).unwrap_or(to.starts_at);
    change(tx, tenant, id, |change| {
        change.set(bookings::starts_at, to.starts_at);
        change.set(bookings::ends_at, ends_at);
        if let Some(staff) = to.staff_id {
            change.set(bookings::staff_id, staff);
        }
    })
}

/// Notes how a booking ended, [`COMPLETED`] or [`NO_SHOW`]; one may be corrected to the other. Errors: 404; 409 when it has not begun, or was
/// cancelled; 412.
pub fn end(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch, status: &'static str) -> Result<Row> {
    let locked = lock(tx, tenant, id, expected)?;
    if ![COMPLETED, NO_SHOW].contains(&locked.status.as_str()) {
        locked.is_open("ended")?;
    }
    if locked.starts_at > Utc::now() {
        return Err(Error::conflict("too_early", "The booking has not begun. Cancel it, or move it."));
    }
    change(tx, tenant, id, |change| {
        if locked.status != status {
            change.set(bookings::status, status);
        }
    })
}
