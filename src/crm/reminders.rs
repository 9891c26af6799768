//! Reminders: set `reminded_at`, once, on a row that is due. Readers of changes (the audit log, events) act on it. A new
//! time gets a new reminder.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::Column;
use uuid::Uuid;

use crate::auth::Tenant;
use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::db::{Db, Statement, Tx};
use crate::resource::{Changeset, Resource, select};

/// Rows reminded in one transaction.
const MAX_SENT: u32 = 500;

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
    for reminder in reminders {
        // A business whose reminders fail must not block the others: the next search leaves it out.
        let mut failed = Vec::new();
        loop {
            let (before, without) = (failed.len(), failed.clone());
            let waiting =
                db.unscoped().read("reminders_due", move |conn| Ok(waiting(reminder, &without).scalars::<Uuid>(conn)?));
            for business in waiting.await? {
                let tenant = Tenant::for_operator(business);
                let reminded = db.for_tenant(&tenant).write("remind", move |tx| remind_tenant(tx, &tenant, reminder));
                match reminded.await {
                    Ok(sent) if sent == MAX_SENT as usize => pace = TaskOutcome::Again,
                    Ok(_) => {}
                    Err(error) => {
                        let resource = reminder.resource.plural;
                        tracing::warn!(%business, resource, %error, "reminders of a business were not given");
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
fn waiting(reminder: &Reminder, without: &[Uuid]) -> Statement {
    let mut sql = Statement::new("SELECT DISTINCT business_id FROM (SELECT t.business_id FROM ");
    sql.ident(reminder.resource.table).sql(" t WHERE ").sql(reminder.due);
    if !without.is_empty() {
        sql.sql(" AND t.business_id <> ALL(").bind(without.to_vec()).sql(")");
    }
    sql.sql(" ORDER BY ").sql(reminder.time).sql(" LIMIT ").number(MAX_SENT).sql(") t");
    sql
}

/// Reminds of the rows of one business that have been due for longest. Returns how many those are.
fn remind_tenant(tx: &mut Tx<'_>, tenant: &Tenant, reminder: &Reminder) -> Result<usize> {
    let resource = reminder.resource;
    let mut rows = Statement::new("SELECT t.id FROM ");
    rows.ident(resource.table).sql(" t").append(select::tenant_predicate(resource, tenant));
    rows.sql(" AND ").sql(reminder.due).sql(" ORDER BY ").sql(reminder.time);
    rows.sql(" LIMIT ").number(MAX_SENT).sql(" FOR UPDATE SKIP LOCKED");
    let ids = rows.scalars::<Uuid>(tx)?;
    if ids.is_empty() {
        return Ok(0);
    }
    let mut sql = Statement::new("UPDATE ");
    sql.ident(resource.table).sql(" AS t SET reminded_at = now(), version = version + 1, updated_at = now()");
    sql.append(select::tenant_predicate(resource, tenant)).sql(" AND t.id = ANY(").bind(ids).sql(")");
    Ok(sql.run(tx)?)
}

/// Resets the reminder when the time changes, not when the same time is set again.
pub fn forget<T: Column + Copy, R: Column>(change: &mut Changeset, time: T, reminded: R) {
    if !change.creates && change.get(time).is_some() {
        change.set_if_changed(time, reminded, None::<DateTime<Utc>>);
    }
}
