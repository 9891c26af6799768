//! Corrects the days of stored bookings, once for each release of the data of time zones: a booking keeps the date on which it
//! starts in its zone, and governments change what that is.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use diesel::QueryableByName;
use uuid::Uuid;

use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::base::zones;
use crate::db::schema::bookings;
use crate::db::{Db, Statement, Tx};

/// Bookings checked in one transaction: a fraction of a second.
const MAX_CHECKED: u32 = 5_000;
/// How often a process looks whether there is something to do: once a release is checked, this is one look into a table of a few rows.
const PERIOD: Duration = Duration::from_secs(600);

/// The task that checks.
pub fn task(db: Db) -> BackgroundTask {
    let after: Rc<Cell<Place>> = Rc::default();
    BackgroundTask::new("booking days", PERIOD, move || {
        let (db, after) = (db.clone(), after.clone());
        async move {
            let from = after.get();
            let reached = db.unscoped().write("booking_days", move |tx| check(tx, from)).await?;
            after.set(reached.unwrap_or_default());
            Ok(if reached.is_some() { TaskOutcome::Again } else { TaskOutcome::Rest })
        }
    })
}

/// The key of the last booking that was checked.
type Place = (Uuid, Uuid);

#[derive(QueryableByName)]
#[diesel(table_name = bookings)]
struct Stored {
    business_id: Uuid,
    id: Uuid,
    starts_at: DateTime<Utc>,
    time_zone: String,
    day: NaiveDate,
}

/// Checks the bookings after `from`. Returns how far it came; `None`: there are no more, or another process checks them. Queries: four
/// at most.
fn check(tx: &mut Tx<'_>, (business, id): Place) -> Result<Option<Place>> {
    let release = zones::data().version;
    // A newer release has the last word. One that does not say which it is has none.
    if release == zones::UNKNOWN {
        return Ok(None);
    }
    let mut sql = Statement::new("SELECT EXISTS (SELECT FROM booking_day_checks WHERE release COLLATE \"C\" >= ");
    sql.bind(release.as_str()).sql(") OR NOT pg_try_advisory_xact_lock(hashtextextended('rapport booking days', 0))");
    if sql.scalar::<bool>(tx)? != Some(false) {
        return Ok(None);
    }
    let mut sql =
        Statement::new("SELECT business_id, id, starts_at, time_zone, day FROM bookings WHERE (business_id, id) > (");
    sql.bind(business).sql(", ").bind(id).sql(") ORDER BY business_id, id LIMIT ").number(MAX_CHECKED);
    let rows: Vec<Stored> = sql.load(tx)?;
    let reached = rows.last().map(|row| (row.business_id, row.id));
    let (mut businesses, mut ids, mut starts, mut days) = (vec![], vec![], vec![], vec![]);
    for row in rows {
        // Of a zone that these data lack, a newer release may know better.
        let Some(day) = zones::get(&row.time_zone).and_then(|zone| zone.day(row.starts_at)) else { continue };
        if day != row.day && (1..=9999).contains(&day.year()) {
            businesses.push(row.business_id);
            ids.push(row.id);
            starts.push(row.starts_at);
            days.push(day);
        }
    }
    if !ids.is_empty() {
        tracing::info!(bookings = ids.len(), %release, "days of bookings are corrected: the rules of their time zones have changed");
        // One that was moved meanwhile has got its day by that.
        let mut sql = Statement::new(
            "UPDATE bookings b SET day = k.day, version = b.version + 1, updated_at = now() FROM unnest(",
        );
        sql.bind(businesses).sql(", ").bind(ids).sql(", ").bind(starts).sql(", ").bind(days);
        sql.sql(") k (business_id, id, starts_at, day) WHERE b.business_id = k.business_id AND b.id = k.id AND b.starts_at = k.starts_at");
        sql.run(tx)?;
    }
    if reached.is_none() {
        let mut sql = Statement::new("INSERT INTO booking_day_checks (release) VALUES (");
        sql.bind(release).sql(") ON CONFLICT DO NOTHING").run(tx)?;
    }
    Ok(reached)
}
