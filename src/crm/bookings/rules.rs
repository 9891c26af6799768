//! What holds for every booking: a code, a day in its own zone, an end after its start, and staff in one place at a time.

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Timestamptz};
use serde_json::json;
use uuid::Uuid;

use super::code;
use crate::auth::{Business, Tenant};
use crate::crm::campaigns::default_currency;
use crate::db::{Tx, Value};
use crate::error::{Error, Fault, Result};
use crate::noun::store::{self, Row};
use crate::noun::{Change, Faults, Noun};
use crate::schema::bookings;

/// Statuses in which a booking takes its staff's time; the exclusion constraint says the same.
const TAKING: [&str; 3] = ["held", "pending", "confirmed"];

pub fn prepare(change: &mut Change, business: &Business, faults: &mut Faults) {
    if change.creates {
        change.set("code", Value::Text(Some(code::generate())));
        change.set_default("time_zone", Value::Text(Some(business.time_zone.clone())));
    }
    let time = |name| change.get(name).and_then(Value::as_time);
    if let (Some(start), Some(end)) = (time("starts_at"), time("ends_at"))
        && end <= start
    {
        faults.field("ends_at", "out_of_range", "`ends_at` must be after `starts_at`.");
    }
    default_currency(change, "price_minor", business);
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

/// Completes the day, and refuses a time that is taken. Two who ask for the same time at once both pass here; the
/// constraint stops the second, whose transaction is then tried again and finds the first.
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
    if end <= start {
        let detail = "`ends_at` must be after `starts_at`.";
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
