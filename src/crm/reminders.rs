//! Reminders: set `reminded_at`, once, on a row that is due. Readers of changes (the audit log, events) act on it. A new
//! time gets a new reminder.

use std::time::Duration;

use diesel::Column;
use uuid::Uuid;

use crate::auth::Tenant;
use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::db::{Db, SqlValue, Statement, Tx};
use crate::resource::{Changeset, Resource, select};

/// Rows reminded in one transaction.
const MAX_SENT: usize = 500;

/// Failed businesses after which the search stops: the cause is not in a business.
const MAX_FAILED: usize = 100;

/// Which rows of a resource get a reminder.
#[derive(Clone, Copy, Debug)]
pub struct Reminder {
    pub resource: &'static Resource,
    /// The time that they are reminded of: SQL over the table's alias `t`.
    pub time: &'static str,
    /// The condition for a reminder that is due: SQL over the table's alias `t`.
    pub due: &'static str,
}

/// The task that gives the `reminders` that are due. Any number of processes may run it: rows locked by one are skipped by
/// the others.
pub fn task(db: Db, reminders: &'static [&'static Reminder]) -> BackgroundTask {
    BackgroundTask::new("reminders", Duration::from_secs(10), move || remind(db.clone(), reminders))
}

async fn remind(db: Db, reminders: &'static [&'static Reminder]) -> Result<TaskOutcome> {
    let mut pace = TaskOutcome::Rest;
    for Reminder { resource, time, due } in reminders {
        // A business whose reminders fail must not block the others: the next search leaves it out.
        let mut failed = Vec::new();
        loop {
            let (before, without) = (failed.len(), failed.clone());
            let waiting =
                db.unscoped().read("reminders_due", move |conn| Ok(waiting(resource, time, due, &without).rows(conn)?));
            for business in waiting.await?.iter().filter_map(|row| row.uuid(0)) {
                let tenant = Tenant::for_operator(business);
                let reminded = db.for_tenant(&tenant).write("remind", move |tx| tell(tx, &tenant, resource, time, due));
                match reminded.await {
                    Ok(MAX_SENT) => pace = TaskOutcome::Again,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(%business, resource = resource.plural, %error, "reminders of a business were not given");
                        failed.push(business);
                    }
                }
            }
            if failed.len() == before || failed.len() >= MAX_FAILED {
                break;
            }
        }
    }
    Ok(pace)
}

/// Selects the businesses of the rows that have been due for longest.
fn waiting(resource: &Resource, time: &str, due: &str, without: &[Uuid]) -> Statement {
    let mut sql = Statement::new(format!(
        "SELECT DISTINCT business_id FROM (SELECT t.business_id FROM {} t WHERE {due}",
        resource.table
    ));
    if !without.is_empty() {
        sql.sql(" AND t.business_id <> ALL(").bind(without.to_vec()).sql(")");
    }
    sql.push(&format!(" ORDER BY {time} LIMIT {MAX_SENT}) t"));
    sql
}

fn tell(tx: &mut Tx<'_>, tenant: &Tenant, resource: &Resource, time: &str, due: &str) -> Result<usize> {
    let mut rows = Statement::new(format!("SELECT t.id FROM {} t", resource.table));
    rows.append(select::tenant_predicate(resource, tenant));
    rows.push(&format!(" AND {due} ORDER BY {time} LIMIT {MAX_SENT} FOR UPDATE SKIP LOCKED"));
    let ids: Vec<Uuid> = rows.rows(tx)?.iter().filter_map(|row| row.uuid(0)).collect();
    if ids.is_empty() {
        return Ok(0);
    }
    let mut sql = Statement::new(format!(
        "UPDATE {} AS t SET reminded_at = now(), version = version + 1, updated_at = now()",
        resource.table
    ));
    sql.append(select::tenant_predicate(resource, tenant)).sql(" AND t.id = ANY(").bind(ids).sql(")");
    Ok(sql.run(tx)?)
}

/// Resets the reminder when the time changes, not when the same time is set again.
pub fn forget<T: Column + Copy, R: Column>(change: &mut Changeset, time: T, reminded: R) {
    if !change.creates && change.get(time).is_some() {
        change.set_if_changed(time, reminded, SqlValue::Time(None));
    }
}
