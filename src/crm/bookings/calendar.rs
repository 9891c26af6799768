//! The time of staff: who may be booked, and what is taken already.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, SecondsFormat, Utc};
use diesel::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::rules::Stored;
use super::{BOOKINGS, rules};
use crate::auth::Tenant;
use crate::db::{Statement, Tx, Value};
use crate::error::{Error, Result};
use crate::noun::select;
use crate::schema::staff;

/// The time that a booking takes of its staff.
#[derive(Clone, Debug)]
pub struct Claim {
    pub staff: Uuid,
    /// Whether the staff is chosen now, and so must be bookable now.
    pub chosen: bool,
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    /// The booking's.
    pub code: String,
}

/// Locks members of staff until this transaction ends, so that bookings of one calendar are made one after the other:
/// waiting at the exclusion constraint instead ends in deadlocks when many ask for one time at once. In one order, so that
/// sets do not wait for each other in a circle either. Those of them who can be booked now.
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

/// What is taken of the time that a set of bookings wants.
pub struct Calendar {
    /// By bookings beside the set: by the booking that wants it, the last of those in its way.
    elsewhere: HashMap<Uuid, Taken>,
    /// By the set's own bookings, as they are after those that were written in so far.
    own: HashMap<Uuid, Claim>,
}

/// An interval that is taken: the booking's code, from when, until when.
type Taken = (String, String, String);

impl Calendar {
    /// Looks up what stands in the way of `claims`, of which `stored` are bookings that are there already.
    pub fn read<'s>(
        tx: &mut Tx<'_>,
        tenant: &Tenant,
        claims: &HashMap<Uuid, Claim>,
        stored: impl IntoIterator<Item = &'s Stored>,
    ) -> Result<Self> {
        let stored: Vec<&Stored> = stored.into_iter().collect();
        let own = stored.iter().filter(|stored| stored.deleted_at.is_none());
        let own: HashMap<Uuid, Claim> = own.filter_map(|stored| Some((stored.id, stored.claim()?))).collect();
        let mut elsewhere = HashMap::new();
        if !claims.is_empty() {
            // What is changed with the set is looked at as it is after those before it.
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

    /// Writes in what the booking `id` is to take, which may be nothing. Errors: 409 when that is taken.
    pub fn write(&mut self, id: Uuid, claim: Option<Claim>) -> Result<()> {
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

    /// Of the set's own bookings the last that meets `claim`.
    fn in_the_way(&self, id: Uuid, claim: &Claim) -> Option<Taken> {
        let meets = |other: &Claim| other.staff == claim.staff && other.start < claim.end && claim.start < other.end;
        let others = self.own.iter().filter(|(own, other)| **own != id && meets(other)).map(|(_, other)| other);
        let last = others.max_by_key(|other| other.start)?;
        let [start, end] = [last.start, last.end].map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
        Some((last.code.clone(), start, end))
    }
}

/// For each of `claims` the last booking in its way, those with the ids `apart` aside.
fn overlapping(tenant: &Tenant, claims: &HashMap<Uuid, Claim>, apart: Vec<Uuid>) -> Statement {
    let mut sql = Statement::new("SELECT w.id, o.code, ");
    let told = |column: &str| format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
    sql.push(&format!("{}, {} FROM ", told("o.starts_at"), told("o.ends_at"))).append(wanted(claims));
    // What takes a member of staff's time does not overlap. So of what begins before the end only the last can reach past the
    // start: one step in the index of starts, where the one of intervals would have to be read from end to end behind
    // row-level security, which lets no comparison of intervals go first.
    sql.push(" CROSS JOIN LATERAL (SELECT t.code, t.starts_at, t.ends_at FROM bookings t");
    sql.append(select::scoped(&BOOKINGS, tenant));
    sql.push(" AND t.staff_id = w.staff_id AND t.starts_at < w.ends_at");
    sql.push(&format!(" AND t.status IN ('{}') AND t.deleted_at IS NULL", rules::TAKING.join("', '")));
    if !apart.is_empty() {
        sql.push(" AND t.id NOT IN (SELECT unnest(").bind(Value::Uuids(apart)).push("))");
    }
    sql.push(" ORDER BY t.starts_at DESC LIMIT 1) o WHERE o.ends_at > w.starts_at");
    sql
}

/// `claims` as a table `w`.
fn wanted(claims: &HashMap<Uuid, Claim>) -> Statement {
    let mut sql = Statement::default();
    let mut claims = claims.iter();
    match (claims.next(), claims.len()) {
        (Some((id, claim)), 0) => {
            sql.push("(SELECT ").bind(Value::Uuid(Some(*id))).push("::uuid AS id, ");
            sql.bind(Value::Uuid(Some(claim.staff))).push("::uuid AS staff_id, ");
            sql.bind(Value::Time(Some(claim.start))).push("::timestamptz AS starts_at, ");
            sql.bind(Value::Time(Some(claim.end))).push("::timestamptz AS ends_at) w");
        }
        (first, _) => {
            let wanted = first.into_iter().chain(claims).map(|(id, claim)| {
                json!({
                    "id": id, "staff_id": claim.staff, "starts_at": Value::Time(Some(claim.start)).to_json(),
                    "ends_at": Value::Time(Some(claim.end)).to_json(),
                })
            });
            sql.push("jsonb_to_recordset(").bind(Value::Json(Some(wanted.collect())));
            sql.push(") AS w(id uuid, staff_id uuid, starts_at timestamptz, ends_at timestamptz)");
        }
    }
    sql
}
