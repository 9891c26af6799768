//! Reminders: a task that is due, and a booking that is about to begin, is told of once, as a change of its `reminded_at`. Whoever
//! listens to changes (the audit log, events) acts on it. A new time is told of anew.

use actix_web::web::Data;
use uuid::Uuid;

use super::bookings::BOOKINGS;
use super::tasks::TASKS;
use crate::app::App;
use crate::auth::Tenant;
use crate::db::{Statement, Tx, Value};
use crate::error::Result;
use crate::jobs::Pace;
use crate::noun::{Change, Noun, select};

/// Rows that are told of in one transaction.
const MOST: usize = 500;

/// Businesses that failed, after which it is no fault of a business'.
const MOST_FAILED: usize = 100;

/// What a noun's rows are told of, and when. A task that has been due for longer than a week is not told of any more: it was
/// due before there were reminders, or nobody was there to give them. How long before a booking is a number for all businesses.
static REMINDERS: [(&Noun, &str, &str); 2] = [
    (
        &TASKS,
        "t.due_at",
        "t.reminded_at IS NULL AND t.status = 'open' AND t.deleted_at IS NULL \
         AND t.due_at <= now() AND t.due_at > now() - interval '7 days'",
    ),
    (
        &BOOKINGS,
        "t.starts_at",
        "t.reminded_at IS NULL AND t.status IN ('held', 'pending', 'confirmed') AND t.deleted_at IS NULL \
         AND t.starts_at > now() AND t.starts_at <= now() + interval '24 hours'",
    ),
];

/// Gives the reminders that are due. Any number of processes may: a row that one has in hand is passed over by the others.
pub async fn remind(app: Data<App>) -> Result<Pace> {
    let mut pace = Pace::Rest;
    for (noun, time, due) in &REMINDERS {
        // A business whose rows cannot be told of keeps nobody else from theirs: the rest is looked for without it.
        let mut failed = Vec::new();
        loop {
            let (before, without) = (failed.len(), failed.clone());
            let waiting =
                app.db.across().read("reminders_due", move |conn| Ok(waiting(noun, time, due, &without).rows(conn)?));
            for business in waiting.await?.iter().filter_map(|row| row.uuid(0)) {
                let tenant = Tenant::of_operator(business);
                let told = app.db.within(&tenant).write("remind", move |tx| tell(tx, &tenant, noun, time, due));
                match told.await {
                    Ok(MOST) => pace = Pace::Again,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(%business, noun = noun.plural, %error, "reminders of a business were not given");
                        failed.push(business);
                    }
                }
            }
            if failed.len() == before || failed.len() >= MOST_FAILED {
                break;
            }
        }
    }
    Ok(pace)
}

/// The businesses of the rows that have been due for longest.
fn waiting(noun: &Noun, time: &str, due: &str, without: &[Uuid]) -> Statement {
    let mut sql = Statement::new(format!(
        "SELECT DISTINCT business_id FROM (SELECT t.business_id FROM {} t WHERE {due}",
        noun.table
    ));
    if !without.is_empty() {
        sql.push(" AND t.business_id <> ALL(").bind(Value::Uuids(without.to_vec())).push(")");
    }
    sql.push(&format!(" ORDER BY {time} LIMIT {MOST}) t"));
    sql
}

fn tell(tx: &mut Tx<'_>, tenant: &Tenant, noun: &Noun, time: &str, due: &str) -> Result<usize> {
    let mut rows = Statement::new(format!("SELECT t.id FROM {} t", noun.table));
    rows.append(select::scoped(noun, tenant));
    rows.push(&format!(" AND {due} ORDER BY {time} LIMIT {MOST} FOR UPDATE SKIP LOCKED"));
    let ids: Vec<Uuid> = rows.rows(tx)?.iter().filter_map(|row| row.uuid(0)).collect();
    if ids.is_empty() {
        return Ok(0);
    }
    let mut sql = Statement::new(format!(
        "UPDATE {} AS t SET reminded_at = now(), version = version + 1, updated_at = now()",
        noun.table
    ));
    sql.append(select::scoped(noun, tenant)).push(" AND t.id = ANY(").bind(Value::Uuids(ids)).push(")");
    Ok(sql.run(tx)?)
}

/// A new time is told of anew; the same time, said once more, is not.
pub fn forget(change: &mut Change, time: &'static str) {
    if !change.creates && change.get(time).is_some() {
        change.set_with(time, "reminded_at", Value::Time(None));
    }
}
