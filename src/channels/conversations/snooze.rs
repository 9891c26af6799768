//! Background task which brings snoozed conversations back when their time has come. (A message of the other side does so at once, see
//! [`super::totals`].)

use std::time::Duration;

use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::db::{Db, Statement};

/// How often it looks: nobody waits for the second.
const PERIOD: Duration = Duration::from_secs(1);
/// Conversations woken in one transaction.
const MAX_WOKEN: u32 = 500;

/// The task. Any number of processes may run it: rows that one has locked are skipped by the others.
pub fn task(db: Db) -> BackgroundTask {
    BackgroundTask::new("snoozed conversations", PERIOD, move || wake(db.clone()))
}

async fn wake(db: Db) -> Result<TaskOutcome> {
    let woken = db.unscoped().write("snoozed_wake", |tx| {
        let mut sql = Statement::new(
            "UPDATE conversations SET snoozed_until = NULL, version = version + 1, updated_at = now() WHERE (business_id, id) IN (\
             SELECT business_id, id FROM conversations WHERE snoozed_until <= clock_timestamp() ORDER BY snoozed_until LIMIT ",
        );
        Ok(sql.number(MAX_WOKEN).sql(" FOR NO KEY UPDATE SKIP LOCKED)").run(tx)?)
    });
    Ok(if woken.await? >= MAX_WOKEN as usize { TaskOutcome::Again } else { TaskOutcome::Rest })
}
