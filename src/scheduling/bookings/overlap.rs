//! Finds bookings in the way: whether the times that bookings want are taken.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};
use diesel::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::stored_booking::StoredBooking;
use super::time_slot::{BLOCKING_STATUSES, TimeSlot};
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::schema::bookings;
use crate::db::{SqlValue, Statement, Tx};

/// What is taken of the times that a batch of bookings wants.
pub struct Calendar {
    /// By bookings outside the batch: for each booking of the batch, the last one that overlaps it.
    elsewhere: HashMap<Uuid, TakenTime>,
    /// By bookings of the batch, in their state after the items written so far.
    own: HashMap<Uuid, TimeSlot>,
}

/// The time of a booking that is in the way of another.
#[derive(Clone, QueryableByName)]
#[diesel(table_name = bookings)]
struct TakenTime {
    /// The booking that wants the time.
    id: Uuid,
    /// The code of the booking that has it.
    code: String,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
}

impl Calendar {
    /// Loads the bookings that overlap `slots`. `stored` are the existing bookings that the batch changes.
    pub fn read<'s>(
        tx: &mut Tx<'_>,
        tenant: &Tenant,
        slots: &HashMap<Uuid, TimeSlot>,
        stored: impl IntoIterator<Item = &'s StoredBooking>,
    ) -> Result<Self> {
        let stored: Vec<&StoredBooking> = stored.into_iter().collect();
        let own = stored.iter().filter(|stored| stored.deleted_at.is_none());
        let own: HashMap<Uuid, TimeSlot> = own.filter_map(|stored| Some((stored.id, stored.time_slot()?))).collect();
        let mut elsewhere = HashMap::new();
        if !slots.is_empty() {
            // Bookings that the batch changes are compared in `write`, in their state after the preceding items.
            let apart: Vec<Uuid> = stored.iter().map(|stored| stored.id).collect();
            let taken = overlapping(tenant, slots, apart).load::<TakenTime>(tx)?;
            elsewhere.extend(taken.into_iter().map(|taken| (taken.id, taken)));
        }
        Ok(Self { elsewhere, own })
    }

    /// Records the time that booking `id` is to take; `None` releases it. Errors: 409 when it is taken.
    pub fn write(&mut self, id: Uuid, slot: Option<TimeSlot>) -> Result<()> {
        let Some(slot) = slot else {
            self.own.remove(&id);
            return Ok(());
        };
        if let Some(taken) = self.elsewhere.get(&id).cloned().or_else(|| self.in_the_way(id, &slot)) {
            let [start, end] =
                [taken.starts_at, taken.ends_at].map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
            return Err(Error::Conflict {
                code: "overlapping_booking",
                detail: format!(
                    "This member of staff is booked from {start} to {end} already. Choose another time or person."
                ),
                pointer: Some("/starts_at".into()),
                extra: Box::new(json!({ "conflict": { "code": taken.code, "starts_at": start, "ends_at": end } })),
            });
        }
        self.own.insert(id, slot);
        Ok(())
    }

    /// Returns the last booking of the batch that overlaps `slot`.
    fn in_the_way(&self, id: Uuid, slot: &TimeSlot) -> Option<TakenTime> {
        let meets = |other: &TimeSlot| other.staff == slot.staff && other.start < slot.end && slot.start < other.end;
        let others = self.own.iter().filter(|(own, other)| **own != id && meets(other)).map(|(_, other)| other);
        let last = others.max_by_key(|other| other.start)?;
        Some(TakenTime { id, code: last.code.clone(), starts_at: last.start, ends_at: last.end })
    }
}

/// Selects for each of `slots` the last booking that overlaps it, except those with the ids `apart`.
fn overlapping(tenant: &Tenant, slots: &HashMap<Uuid, TimeSlot>, apart: Vec<Uuid>) -> Statement {
    let mut sql = Statement::new("SELECT w.id, o.code, o.starts_at, o.ends_at FROM ");
    sql.append(wanted(slots));
    // Bookings that take a staff member's time do not overlap. So of those that begin before the end only the last can
    // reach past the start: one step in the index of starts. The index of intervals would be read from end to end
    // behind row-level security, which lets no comparison of intervals run first.
    sql.sql(" CROSS JOIN LATERAL (SELECT t.code, t.starts_at, t.ends_at FROM bookings t");
    // All of the business, whichever of them the caller sees.
    sql.sql(" WHERE t.business_id = ").bind(tenant.id());
    sql.sql(" AND t.staff_id = w.staff_id AND t.starts_at < w.ends_at");
    // Literals, as in the predicate of the index.
    for (place, status) in BLOCKING_STATUSES.into_iter().enumerate() {
        sql.sql(if place == 0 { " AND t.status IN (" } else { ", " }).literal(status);
    }
    sql.sql(") AND t.deleted_at IS NULL");
    if !apart.is_empty() {
        sql.sql(" AND t.id NOT IN (SELECT unnest(").bind(apart).sql("))");
    }
    sql.sql(" ORDER BY t.starts_at DESC LIMIT 1) o WHERE o.ends_at > w.starts_at");
    sql
}

/// Renders `slots` as a table `w`.
fn wanted(slots: &HashMap<Uuid, TimeSlot>) -> Statement {
    let mut sql = Statement::default();
    let mut slots = slots.iter();
    match (slots.next(), slots.len()) {
        (Some((id, slot)), 0) => {
            sql.sql("(SELECT ").bind(*id).sql("::uuid AS id, ");
            sql.bind(slot.staff).sql("::uuid AS staff_id, ");
            sql.bind(slot.start).sql("::timestamptz AS starts_at, ");
            sql.bind(slot.end).sql("::timestamptz AS ends_at) w");
        }
        (first, _) => {
            let wanted = first.into_iter().chain(slots).map(|(id, slot)| {
                json!({
                    "id": id, "staff_id": slot.staff, "starts_at": SqlValue::from(slot.start).to_json(),
                    "ends_at": SqlValue::from(slot.end).to_json(),
                })
            });
            sql.sql("jsonb_to_recordset(").bind(serde_json::Value::Array(wanted.collect()));
            sql.sql(") AS w(id uuid, staff_id uuid, starts_at timestamptz, ends_at timestamptz)");
        }
    }
    sql
}
