//! Staff calendars: who can be booked, and which times are taken.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, SecondsFormat, Utc};
use diesel::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::rules::Stored;
use super::{BOOKINGS, rules};
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::schema::staff;
use crate::db::{SqlValue, Statement, Tx};
use crate::resource::select;

/// The time that a booking takes of its staff.
#[derive(Clone, Debug)]
pub struct TimeSlot {
    pub staff: Uuid,
    /// Whether the booking assigns the staff member now, who must then be bookable.
    pub chosen: bool,
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    /// The booking's code.
    pub code: String,
}

/// Locks staff rows until the transaction ends, so that bookings of one calendar are serialized: waiting at the
/// exclusion constraint instead ends in deadlocks when many ask for one time at once. The rows are locked in id order,
/// so that batches do not deadlock either. Returns those of them who can be booked now.
pub fn take_turns(tx: &mut Tx<'_>, tenant: &Tenant, wanted: Vec<Uuid>) -> Result<HashSet<Uuid>> {
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

/// What is taken of the times that a batch of bookings wants.
pub struct Calendar {
    /// By bookings outside the batch: for each booking of the batch, the last one that overlaps it.
    elsewhere: HashMap<Uuid, Taken>,
    /// By bookings of the batch, in their state after the items written so far.
    own: HashMap<Uuid, TimeSlot>,
}

/// A taken interval: the booking's code, start and end.
type Taken = (String, String, String);

impl Calendar {
    /// Loads the bookings that overlap `claims`. `stored` are the existing bookings that the batch changes.
    pub fn read<'s>(
        tx: &mut Tx<'_>,
        tenant: &Tenant,
        claims: &HashMap<Uuid, TimeSlot>,
        stored: impl IntoIterator<Item = &'s Stored>,
    ) -> Result<Self> {
        let stored: Vec<&Stored> = stored.into_iter().collect();
        let own = stored.iter().filter(|stored| stored.deleted_at.is_none());
        let own: HashMap<Uuid, TimeSlot> = own.filter_map(|stored| Some((stored.id, stored.claim()?))).collect();
        let mut elsewhere = HashMap::new();
        if !claims.is_empty() {
            // Bookings that the batch changes are compared in `write`, in their state after the preceding items.
            let apart: Vec<Uuid> = stored.iter().map(|stored| stored.id).collect();
            for row in overlapping(tenant, claims, apart).rows(tx)? {
                let text = |cell| row.text(cell).unwrap_or_default().to_owned();
                if let Some(id) = row.uuid(0) {
                    elsewhere.insert(id, (text(1), text(2), text(3)));
                }
            }
        }
        Ok(Self { elsewhere, own })
    }

    /// Records the time that booking `id` is to take; `None` releases it. Errors: 409 when it is taken.
    pub fn write(&mut self, id: Uuid, claim: Option<TimeSlot>) -> Result<()> {
        let Some(claim) = claim else {
            self.own.remove(&id);
            return Ok(());
        };
        if let Some((code, start, end)) = self.elsewhere.get(&id).cloned().or_else(|| self.in_the_way(id, &claim)) {
            return Err(Error::Conflict {
                code: "overlapping_booking",
                detail: format!(
                    "This member of staff is booked from {start} to {end} already. Choose another time or person."
                ),
                pointer: Some("/starts_at".into()),
                extra: Box::new(json!({ "conflict": { "code": code, "starts_at": start, "ends_at": end } })),
            });
        }
        self.own.insert(id, claim);
        Ok(())
    }

    /// Returns the last booking of the batch that overlaps `claim`.
    fn in_the_way(&self, id: Uuid, claim: &TimeSlot) -> Option<Taken> {
        let meets = |other: &TimeSlot| other.staff == claim.staff && other.start < claim.end && claim.start < other.end;
        let others = self.own.iter().filter(|(own, other)| **own != id && meets(other)).map(|(_, other)| other);
        let last = others.max_by_key(|other| other.start)?;
        let [start, end] = [last.start, last.end].map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
        Some((last.code.clone(), start, end))
    }
}

/// Selects for each of `claims` the last booking that overlaps it, except those with the ids `apart`.
fn overlapping(tenant: &Tenant, claims: &HashMap<Uuid, TimeSlot>, apart: Vec<Uuid>) -> Statement {
    let mut sql = Statement::new("SELECT w.id, o.code, ");
    let told = |column: &str| format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
    sql.push(&format!("{}, {} FROM ", told("o.starts_at"), told("o.ends_at"))).append(wanted(claims));
    // Bookings that take a staff member's time do not overlap. So of those that begin before the end only the last can
    // reach past the start: one step in the index of starts. The index of intervals would be read from end to end
    // behind row-level security, which lets no comparison of intervals run first.
    sql.push(" CROSS JOIN LATERAL (SELECT t.code, t.starts_at, t.ends_at FROM bookings t");
    sql.append(select::tenant_predicate(&BOOKINGS, tenant));
    sql.push(" AND t.staff_id = w.staff_id AND t.starts_at < w.ends_at");
    sql.push(&format!(" AND t.status IN ('{}') AND t.deleted_at IS NULL", rules::BLOCKING_STATUSES.join("', '")));
    if !apart.is_empty() {
        sql.push(" AND t.id NOT IN (SELECT unnest(").bind(SqlValue::Uuids(apart)).push("))");
    }
    sql.push(" ORDER BY t.starts_at DESC LIMIT 1) o WHERE o.ends_at > w.starts_at");
    sql
}

/// Renders `claims` as a table `w`.
fn wanted(claims: &HashMap<Uuid, TimeSlot>) -> Statement {
    let mut sql = Statement::default();
    let mut claims = claims.iter();
    match (claims.next(), claims.len()) {
        (Some((id, claim)), 0) => {
            sql.push("(SELECT ").bind(SqlValue::Uuid(Some(*id))).push("::uuid AS id, ");
            sql.bind(SqlValue::Uuid(Some(claim.staff))).push("::uuid AS staff_id, ");
            sql.bind(SqlValue::Time(Some(claim.start))).push("::timestamptz AS starts_at, ");
            sql.bind(SqlValue::Time(Some(claim.end))).push("::timestamptz AS ends_at) w");
        }
        (first, _) => {
            let wanted = first.into_iter().chain(claims).map(|(id, claim)| {
                json!({
                    "id": id, "staff_id": claim.staff, "starts_at": SqlValue::Time(Some(claim.start)).to_json(),
                    "ends_at": SqlValue::Time(Some(claim.end)).to_json(),
                })
            });
            sql.push("jsonb_to_recordset(").bind(SqlValue::Json(Some(wanted.collect())));
            sql.push(") AS w(id uuid, staff_id uuid, starts_at timestamptz, ends_at timestamptz)");
        }
    }
    sql
}
