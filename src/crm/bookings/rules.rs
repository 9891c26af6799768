//! What holds for every booking: a code, a day in its own zone, an end after its start, and staff in one place at a time.

use chrono::{DateTime, Datelike, SecondsFormat, TimeDelta, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Timestamptz};
use serde_json::json;
use uuid::Uuid;

use super::code;
use crate::auth::{Business, Tenant};
use crate::crm::campaigns::default_currency;
use crate::crm::reminders;
use crate::db::{Tx, Value};
use crate::error::{Error, Fault, Result};
use crate::noun::store::{self, Row};
use crate::noun::{Change, Faults, Noun};
use crate::schema::{bookings, staff};

/// Statuses in which a booking takes its staff's time; the exclusion constraint says the same.
const TAKING: [&str; 3] = ["held", "pending", "confirmed"];

/// A booking shorter or longer than this is a slip of the pen.
const SHORTEST: TimeDelta = TimeDelta::minutes(1);
const LONGEST: TimeDelta = TimeDelta::days(366);

pub fn prepare(change: &mut Change, business: &Business, faults: &mut Faults) {
    if change.creates {
        change.set("code", Value::Text(Some(code::generate())));
        change.set_default("time_zone", Value::Text(Some(business.time_zone.clone())));
    }
    let time = |name| change.get(name).and_then(Value::as_time);
    if let (Some(start), Some(end)) = (time("starts_at"), time("ends_at"))
        && let Err(detail) = lasts(start, end)
    {
        faults.field("ends_at", "out_of_range", detail);
    }
    default_currency(change, "price_minor", business);
    reminders::forget(change, "starts_at");
}

fn lasts(start: DateTime<Utc>, end: DateTime<Utc>) -> Result<(), &'static str> {
    match (SHORTEST..=LONGEST).contains(&(end - start)) {
        true => Ok(()),
        false => Err("`ends_at` must be after `starts_at`, by 1 minute to 366 days."),
    }
}

/// What of a stored booking the rules look at.
#[derive(Queryable, Selectable)]
#[diesel(table_name = bookings, check_for_backend(diesel::pg::Pg))]
struct Stored {
    staff_id: Option<Uuid>,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    time_zone: String,
    status: String,
    deleted_at: Option<DateTime<Utc>>,
}

/// Completes the day, and refuses a time that is taken. Who books the same member of staff waits here for the other to
/// finish; the exclusion constraint says the same to whoever does not come this way.
pub fn before(tx: &mut Tx<'_>, tenant: &Tenant, id: Option<Uuid>, change: &mut Change) -> Result<()> {
    let stored = match id {
        Some(id) => stored(tx, tenant, id)?.filter(|stored| stored.deleted_at.is_none()),
        None => None,
    };
    let time = |name, stored: Option<DateTime<Utc>>| change.get(name).and_then(Value::as_time).or(stored);
    let start = time("starts_at", stored.as_ref().map(|s| s.starts_at));
    let end = time("ends_at", stored.as_ref().map(|s| s.ends_at));
    let (Some(start), Some(end)) = (start, end) else {
        return Ok(());
    };
    if let Err(detail) = lasts(start, end) {
        return Err(Error::Invalid(vec![Fault::new("/ends_at", "out_of_range", detail)]));
    }
    let zone = change.text("time_zone").or(stored.as_ref().map(|s| s.time_zone.as_str())).unwrap_or("UTC");
    let zone: chrono_tz::Tz = zone.parse().unwrap_or(chrono_tz::UTC);
    let status = change.text("status").or(stored.as_ref().map(|s| s.status.as_str())).unwrap_or("confirmed");
    let staff = match change.get("staff_id") {
        Some(given) => given.as_uuid(),
        None => stored.as_ref().and_then(|s| s.staff_id),
    };
    if let (Some(staff), true) = (staff, TAKING.contains(&status)) {
        let chosen = change.get("staff_id").is_some();
        take_turns(tx, tenant, staff, chosen)?;
        refuse_overlap(tx, tenant, id, staff, (start, end))?;
    }
    let day = start.with_timezone(&zone).date_naive();
    if !(1..=9999).contains(&day.year()) {
        let detail = "`starts_at` must be in the years 1 to 9999 in the booking's own zone too.";
        return Err(Error::Invalid(vec![Fault::new("/starts_at", "out_of_range", detail)]));
    }
    change.set("day", Value::Date(Some(day)));
    Ok(())
}

/// Brings a deleted booking back, unless its time is taken by now.
pub fn restore(tx: &mut Tx<'_>, tenant: &Tenant, noun: &'static Noun, id: Uuid) -> Result<Row> {
    if let Some(booking) = stored(tx, tenant, id)?
        && let (Some(staff), true) = (booking.staff_id, TAKING.contains(&booking.status.as_str()))
    {
        take_turns(tx, tenant, staff, true)?;
        refuse_overlap(tx, tenant, Some(id), staff, (booking.starts_at, booking.ends_at))?;
    }
    store::restore(tx, tenant, noun, id)
}

fn stored(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Option<Stored>> {
    Ok(bookings::table
        .filter(bookings::business_id.eq(tenant.id()).and(bookings::id.eq(id)))
        .select(Stored::as_select())
        .for_update()
        .first(&mut **tx)
        .optional()?)
}

/// Locks the member of staff until this transaction ends, so that bookings of one calendar are made one after the
/// other: waiting at the exclusion constraint instead ends in deadlocks when many ask for one time at once.
/// Errors: 422 when they are newly `chosen` and not bookable now.
fn take_turns(tx: &mut Tx<'_>, tenant: &Tenant, staff: Uuid, chosen: bool) -> Result<()> {
    let active: Option<bool> = staff::table
        .filter(staff::business_id.eq(tenant.id()).and(staff::id.eq(staff)).and(staff::deleted_at.is_null()))
        .select(staff::active)
        .for_no_key_update()
        .first(&mut **tx)
        .optional()?;
    if chosen && active != Some(true) {
        let detail = "This member of staff cannot be booked now. Choose another, or make them `active` first.";
        return Err(Error::Invalid(vec![Fault::new("/staff_id", "not_bookable", detail)]));
    }
    Ok(())
}

fn refuse_overlap(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    id: Option<Uuid>,
    staff: Uuid,
    (start, end): (DateTime<Utc>, DateTime<Utc>),
) -> Result<()> {
    let taken: Option<(String, DateTime<Utc>, DateTime<Utc>)> = bookings::table
        .filter(bookings::business_id.eq(tenant.id()).and(bookings::staff_id.eq(staff)))
        // as the exclusion constraint writes it, so that its index answers
        .filter(
            sql::<Bool>("tstzrange(starts_at, ends_at) && tstzrange(")
                .bind::<Timestamptz, _>(start)
                .sql(", ")
                .bind::<Timestamptz, _>(end)
                .sql(")"),
        )
        .filter(bookings::status.eq_any(TAKING).and(bookings::deleted_at.is_null()))
        .filter(bookings::id.ne(id.unwrap_or_default()))
        .order(bookings::starts_at)
        .select((bookings::code, bookings::starts_at, bookings::ends_at))
        .first(&mut **tx)
        .optional()?;
    let Some((code, start, end)) = taken else { return Ok(()) };
    let [start, end] = [start, end].map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
    Err(Error::Conflict {
        code: "overlapping_booking",
        detail: format!("This member of staff is booked from {start} to {end} already. Choose another time or person."),
        pointer: Some("/starts_at".into()),
        extra: Box::new(json!({ "conflict": { "code": code, "starts_at": start, "ends_at": end } })),
    })
}
