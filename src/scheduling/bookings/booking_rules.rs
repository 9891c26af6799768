//! Rules of bookings: a code, a day in the booking's own zone, an end after the start, and no overlaps per member of
//! staff.

use std::collections::HashMap;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use uuid::Uuid;

use super::booking_code;
use super::overlap::Calendar;
use super::service_terms;
use super::staff_lock::lock_bookable;
use super::stored_booking::{StoredBooking, load_for_update};
use super::time_slot::{BLOCKING_STATUSES, TimeSlot};
use crate::auth::{Tenant, TenantSettings};
use crate::base::error::{Error, FieldError, Result};
use crate::base::zones;
use crate::crm::reminders;
use crate::db::Tx;
use crate::db::schema::bookings;
use crate::resource::crud::{self, Row};
use crate::resource::{Changeset, PendingRow, Resource, ValidationErrors};

/// A shorter or longer booking is taken for a typing error.
const MIN_DURATION: TimeDelta = TimeDelta::minutes(1);
const MAX_DURATION: TimeDelta = TimeDelta::days(366);

pub fn prepare(change: &mut Changeset, business: &TenantSettings, faults: &mut ValidationErrors) {
    if change.creates {
        change.set(bookings::code, booking_code::generate());
        change.set_default(bookings::time_zone, business.time_zone.as_str());
    }
    if change.creates && change.time(bookings::ends_at).is_none() && change.get(bookings::service_id).is_none() {
        faults.required(
            &["ends_at"],
            "`ends_at` is required for a booking without a `service_id`, whose duration it would follow.",
        );
    }
    if let (Some(start), Some(end)) = (change.time(bookings::starts_at), change.time(bookings::ends_at))
        && let Err(detail) = lasts(start, end)
    {
        faults.field("ends_at", "out_of_range", detail);
    }
    reminders::forget(change, bookings::starts_at, bookings::reminded_at);
}

fn lasts(start: DateTime<Utc>, end: DateTime<Utc>) -> Result<(), &'static str> {
    match (MIN_DURATION..=MAX_DURATION).contains(&(end - start)) {
        true => Ok(()),
        false => Err("`ends_at` must be after `starts_at`, by 1 minute to 366 days."),
    }
}

/// Sets the day, and refuses a time that is taken. Concurrent bookings of one member of staff wait here for each other;
/// the exclusion constraint covers writes that bypass this. In a batch the first item gets the time.
pub fn before(tx: &mut Tx<'_>, tenant: &Tenant, drafts: &mut [PendingRow]) -> Result<()> {
    service_terms::apply(tx, tenant, drafts)?;
    let concerned = |draft: &PendingRow| draft.is_accepted() && concerns_time(&draft.changes);
    let known =
        drafts.iter().filter(|draft| concerned(draft) && !draft.changes.creates).map(|draft| draft.id).collect();
    let stored: HashMap<Uuid, StoredBooking> =
        load_for_update(tx, tenant, known)?.into_iter().map(|row| (row.id, row)).collect();
    let mut slots = HashMap::new();
    for draft in drafts.iter_mut().filter(|draft| concerned(draft)) {
        let stored = stored.get(&draft.id).filter(|stored| stored.deleted_at.is_none());
        match complete(&mut draft.changes, stored) {
            Ok(slot) => drop(slot.map(|slot| slots.insert(draft.id, slot))),
            Err(reason) => draft.refuse(reason),
        }
    }
    let bookable = lock_bookable(tx, tenant, slots.values().map(|slot| slot.staff).collect())?;
    for draft in drafts.iter_mut() {
        if slots.get(&draft.id).is_some_and(|slot| slot.chosen && !bookable.contains(&slot.staff)) {
            draft.refuse(not_bookable());
            slots.remove(&draft.id);
        }
    }
    let mut calendar = Calendar::read(tx, tenant, &slots, stored.values())?;
    for draft in drafts.iter_mut().filter(|draft| concerned(draft)) {
        if let Err(reason) = calendar.write(draft.id, slots.remove(&draft.id)) {
            draft.refuse(reason);
        }
    }
    Ok(())
}

/// Whether a booking may take another time by `change`: one that only changes, say, the notes needs no look at the calendar.
fn concerns_time(change: &Changeset) -> bool {
    change.creates
        || change.get(bookings::staff_id).is_some()
        || change.get(bookings::starts_at).is_some()
        || change.get(bookings::ends_at).is_some()
        || change.get(bookings::time_zone).is_some()
        || change.get(bookings::status).is_some()
}

/// Sets the day of a booking. Returns the time that it takes of its staff, if any. Errors: 422.
fn complete(change: &mut Changeset, stored: Option<&StoredBooking>) -> Result<Option<TimeSlot>> {
    let start = change.time(bookings::starts_at).or(stored.map(|s| s.starts_at));
    let end = change.time(bookings::ends_at).or(stored.map(|s| s.ends_at));
    let (Some(start), Some(end)) = (start, end) else {
        return Ok(None);
    };
    if let Err(detail) = lasts(start, end) {
        return Err(Error::Invalid(vec![FieldError::new("/ends_at", "out_of_range", detail)]));
    }
    let zone = change.text(bookings::time_zone).or(stored.map(|s| s.time_zone.as_str())).unwrap_or("UTC");
    let known = zones::get(zone).unwrap_or_else(|| {
        tracing::warn!(zone, "a booking has a time zone that is not in the data in use; its day is that of UTC");
        zones::utc()
    });
    let Some(day) = known.day(start).filter(|day| (1..=9999).contains(&day.year())) else {
        let detail = "`starts_at` must be in the years 1 to 9999 in the booking's own zone too.";
        return Err(Error::Invalid(vec![FieldError::new("/starts_at", "out_of_range", detail)]));
    };
    change.set(bookings::day, day);
    let status = change.text(bookings::status).or(stored.map(|s| s.status.as_str())).unwrap_or("confirmed");
    let staff = match change.get(bookings::staff_id) {
        Some(given) => given.as_uuid(),
        None => stored.and_then(|s| s.staff_id),
    };
    let Some(staff) = staff.filter(|_| BLOCKING_STATUSES.contains(&status)) else {
        return Ok(None);
    };
    let code = change.text(bookings::code).or(stored.map(|s| s.code.as_str())).unwrap_or_default().to_owned();
    // An unchanged staff member was bookable when assigned.
    let chosen = change.get(bookings::staff_id).is_some() && stored.and_then(|s| s.staff_id) != Some(staff);
    Ok(Some(TimeSlot { staff, chosen, start, end, code }))
}

/// Restores a deleted booking. Errors: 409 when its time has been taken since; 422 when its staff cannot be booked.
pub fn restore(tx: &mut Tx<'_>, tenant: &Tenant, resource: &'static Resource, id: Uuid) -> Result<Row> {
    let stored = load_for_update(tx, tenant, vec![id])?;
    if let Some(slot) = stored.iter().find_map(StoredBooking::time_slot) {
        if !lock_bookable(tx, tenant, vec![slot.staff])?.contains(&slot.staff) {
            return Err(not_bookable());
        }
        let mut calendar = Calendar::read(tx, tenant, &HashMap::from([(id, slot.clone())]), &stored)?;
        calendar.write(id, Some(slot))?;
    }
    crud::restore(tx, tenant, resource, id)
}

fn not_bookable() -> Error {
    let detail = "This member of staff cannot be booked now. Choose another, or make them `active` first.";
    Error::Invalid(vec![FieldError::new("/staff_id", "not_bookable", detail)])
}
