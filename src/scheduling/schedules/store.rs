//! Reads and replaces the stored hours of a member of staff.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use uuid::Uuid;

use super::clock::{TimeSpan, clock_text};
use super::dto::{StaffSchedule, WorkBreak, WorkingHours};
use super::weekly_hours::{WEEKDAYS, WeeklyHours, WorkTime};
use crate::auth::Tenant;
use crate::base::error::{Error, FieldError, Result};
use crate::db::schema::{schedule_hours, staff};
use crate::db::{Statement, Tx};
use crate::http::precondition::IfMatch;
use crate::resource::{Changeset, Row, crud};
use crate::scheduling::staff::STAFF;

/// The kinds of rows.
const WORK: &str = "work";
const BREAK: &str = "break";

#[derive(QueryableByName)]
#[diesel(table_name = staff)]
struct Member {
    version: i64,
    time_zone: String,
    schedule_set_at: Option<DateTime<Utc>>,
}

#[derive(QueryableByName)]
#[diesel(table_name = schedule_hours)]
struct StoredHours {
    weekday: i16,
    kind: String,
    starts_minute: i32,
    ends_minute: i32,
}

/// Replaces the hours of a member of staff; those that are the same stay, and its version with them. Returns the hours after that. Errors:
/// 404; 412; 422 when the body has another time zone.
pub fn replace(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, expected: IfMatch, hours: &WeeklyHours) -> Result<Row> {
    let member = member(tx, tenant, id, true)?;
    if !expected.allows(Some(member.version)) {
        return Err(Error::PreconditionFailed);
    }
    if hours.time_zone.as_ref().is_some_and(|zone| *zone != member.time_zone) {
        let detail = "`time_zone` is that of the member of staff, and is another there. Leave it out, or change it by `PATCH /staff/{id}`.";
        return Err(Error::Invalid(vec![FieldError::new("/time_zone", "read_only", detail)]));
    }
    if member.schedule_set_at.is_none() || load(tx, tenant, id)? != hours.times {
        let mut sql = Statement::new("DELETE FROM schedule_hours WHERE business_id = ");
        sql.bind(tenant.id()).sql(" AND staff_id = ").bind(id).run(tx)?;
        insert(tx, tenant, id, &hours.times)?;
        let mut change = Changeset::empty(STAFF.fields);
        change.set(staff::schedule_set_at, Utc::now());
        crud::update(tx, tenant, &STAFF, id, change, IfMatch::ANY)?;
    }
    read(tx, tenant, id)
}

fn insert(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, times: &[WorkTime]) -> Result<()> {
    let (mut weekdays, mut kinds, mut starts, mut ends) = (vec![], vec![], vec![], vec![]);
    for time in times {
        let breaks = time.breaks.iter().map(|span| (BREAK, span));
        for (kind, span) in std::iter::once((WORK, &time.span)).chain(breaks) {
            weekdays.push(i64::from(time.weekday));
            kinds.push(kind.to_owned());
            starts.push(i64::from(span.starts));
            ends.push(i64::from(span.ends));
        }
    }
    let mut sql = Statement::new(
        "INSERT INTO schedule_hours (business_id, staff_id, weekday, kind, starts_minute, ends_minute) SELECT ",
    );
    sql.bind(tenant.id()).sql(", ").bind(id).sql(", h.weekday, h.kind, h.starts, h.ends FROM unnest(");
    sql.bind(weekdays).sql(", ").bind(kinds).sql(", ").bind(starts).sql(", ").bind(ends);
    sql.sql(") h (weekday, kind, starts, ends)").run(tx)?;
    Ok(())
}

/// Returns the hours of a member of staff as a response whose ETag has the version of the member. Errors: 404.
pub fn read(conn: &mut PgConnection, tenant: &Tenant, id: Uuid) -> Result<Row> {
    let Member { version, time_zone, .. } = member(conn, tenant, id, false)?;
    let weekly = load(conn, tenant, id)?.into_iter().map(shown).collect();
    let json = serde_json::to_vec(&StaffSchedule { weekly, time_zone });
    Ok(Row { json: json.map_err(|error| Error::Internal(error.to_string()))?, version })
}

/// Reads a member of staff, and locks their row. Errors: 404.
fn member(conn: &mut PgConnection, tenant: &Tenant, id: Uuid, locks: bool) -> Result<Member> {
    let mut sql = Statement::new("SELECT version, time_zone, schedule_set_at FROM staff WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ").bind(id).sql(" AND deleted_at IS NULL");
    if locks {
        sql.sql(" FOR NO KEY UPDATE");
    }
    sql.first::<Member>(conn)?.ok_or_else(|| crud::not_found(&STAFF))
}

/// Reads the hours, in order.
fn load(conn: &mut PgConnection, tenant: &Tenant, id: Uuid) -> Result<Vec<WorkTime>> {
    let mut sql =
        Statement::new("SELECT weekday, kind, starts_minute, ends_minute FROM schedule_hours WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND staff_id = ").bind(id);
    sql.sql(" ORDER BY weekday, kind = 'break', starts_minute");
    let rows: Vec<StoredHours> = sql.load(conn)?;
    let mut times: Vec<WorkTime> = Vec::new();
    for row in rows {
        let minute = |minute| u16::try_from(minute).unwrap_or_default();
        let span = TimeSpan { starts: minute(row.starts_minute), ends: minute(row.ends_minute) };
        let weekday = u8::try_from(row.weekday).unwrap_or_default();
        if row.kind == WORK {
            times.push(WorkTime { weekday, span, breaks: Vec::new() });
        } else if let Some(time) = times.iter_mut().find(|time| time.weekday == weekday && time.span.contains(span)) {
            time.breaks.push(span);
        }
    }
    Ok(times)
}

fn shown(time: WorkTime) -> WorkingHours {
    let part = |span: TimeSpan| WorkBreak { start: clock_text(span.starts), end: clock_text(span.ends) };
    WorkingHours {
        weekday: WEEKDAYS.get(usize::from(time.weekday).wrapping_sub(1)).copied().unwrap_or_default().to_owned(),
        start: clock_text(time.span.starts),
        end: clock_text(time.span.ends),
        breaks: time.breaks.into_iter().map(part).collect(),
    }
}
